"""Layers that are not Llama's, priced by their modules; counted ones are in the conformance tests."""

from __future__ import annotations

import pytest
import torch

from eos_platform.costs.flops import compute_ratio, layer_flops, prefill_flops
from eos_platform.costs.layers import CHUNK
from eos_platform.costs.shapes import shape_of
from eos_platform.models.adapters.target import target_of
from eos_platform.models.conformance.further import FURTHER
from eos_platform.models.conformance.subjects import built
from eos_platform.operators.spec import OperatorSpec, SiteSpec


def test_experts_cost_as_many_as_a_token_is_sent_to() -> None:
    shape = shape_of(built(FURTHER["Qwen3-VL-MoE"]))
    experts, dense = shape.own[0], shape.own[1]  # of four experts a token meets two, of 48 each; a layer has none
    assert dense.token - experts.token == 3 * 64 * 96 - (2 * 3 * 64 * 48 + 4 * 64)
    assert (experts.pair, experts.cached, experts.rows, experts.keys) == (2 * 64, 2 * 32, 64, 32)


def test_linear_attention_costs_by_the_chunk_and_keeps_no_keys() -> None:
    shape = shape_of(built(FURTHER["Qwen3.5"]))
    linear, looking = shape.own[0], shape.own[1]
    assert (linear.pair, linear.cached, linear.rows) == (0, 0, looking.rows)  # asks the next layer that has rows
    assert linear.chunk == 4 * (CHUNK**2 * 48 + 3 * CHUNK * 16 * 16)
    assert shape.gated
    whole, more = layer_flops(shape, 64, 0), layer_flops(shape, 65, 0)
    assert more - whole == 2 * linear.token + 2 * linear.chunk  # a token more begins another chunk
    assert float(layer_flops(shape, torch.tensor(96.0), 0)) == pytest.approx(1.5 * whole)  # smooth where it is searched
    mean = sum(layer_flops(shape, 100, index) for index in range(4)) / 4
    assert layer_flops(shape, 100) == pytest.approx(mean)
    assert prefill_flops(shape, 10, None, 90) == pytest.approx(4 * mean + 2 * 64 * 100)


def test_the_same_reduction_saves_less_where_few_layers_look() -> None:
    ratios = {}
    for name in ("Qwen3.5", "Mistral 3"):
        model = built(FURTHER[name])
        target = target_of(model)
        operator = OperatorSpec(target=target, sites=(SiteSpec(layer=0, keep=target.tokens // 8, selector="random"),))
        ratios[name] = compute_ratio(operator, shape_of(model), 20)
    assert ratios["Mistral 3"] < ratios["Qwen3.5"] < 0.3
