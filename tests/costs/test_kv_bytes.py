"""Bytes of the key-value cache, layer by layer."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig

from eos_platform.costs.kv_bytes import KvBytes
from eos_platform.costs.shapes import DecoderShape, shape_of
from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.adapters.target import target_of
from eos_platform.models.bundled import folder
from eos_platform.models.conformance.subjects import batches, built
from eos_platform.models.conformance.zoo import SAMPLES
from eos_platform.models.runtime.attach import reducing
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target
from eos_platform.protocols import CostContext

SHAPE = DecoderShape(layers=6, hidden=64, heads=4, kv_heads=2, head_dim=16, intermediate=128, vocab=100)
TARGET = Target(layers=6, grid=(12, 12))
TOKEN = 2 * 2 * 16 * 4  # keys and values, heads, numbers, bytes


def context(name: str) -> CostContext:
    model = SimpleNamespace(config=AutoConfig.from_pretrained(folder(name)), dtype=torch.float32)
    return CostContext(SHAPE, TARGET, 15, model)


def operator(*sites: tuple[int, int]) -> OperatorSpec:
    made = (SiteSpec(layer=layer, keep=keep, score={"norm": 1.0}) for layer, keep in sites)
    return OperatorSpec(target=TARGET, sites=tuple(made))


@pytest.mark.parametrize(
    ("sites", "rows"),
    [  # tokens that real caches of these models hold
        ((), [95, 95, 159, 95, 95, 159]),
        (((0, 30),), [45] * 6),
        (((0, 100), (4, 20)), [95, 95, 115, 95, 35, 35]),
    ],
)
def test_layers_of_sliding_attention_keep_their_window(sites, rows):
    assert KvBytes().measure(context("bundled-gemma"), operator(*sites) if sites else None) == TOKEN * sum(rows)


def test_elsewhere_every_token_stays():
    assert KvBytes().measure(context("bundled-qwen"), None) == TOKEN * 6 * 159
    without = CostContext(SHAPE, TARGET, 15)  # nothing but sizes: numbers of two bytes
    assert KvBytes().measure(without, operator((2, 10))) == TOKEN // 2 * (2 * 159 + 4 * 25)


def test_the_relaxed_form_counts_the_same():
    counts = [torch.tensor(100.0, requires_grad=True), torch.tensor(20.0, requires_grad=True)]
    sites = [SimpleNamespace(layer=0), SimpleNamespace(layer=4)]
    soft = KvBytes().relaxed(context("bundled-gemma"), sites, counts)
    assert float(soft.detach()) == TOKEN * (3 * 95 + 115 + 2 * 35)
    soft.backward()
    assert [float(count.grad) for count in counts] == [TOKEN * 1, TOKEN * 2]  # only layers that the window does not cut


@torch.no_grad()
@pytest.mark.parametrize("family", SAMPLES)
def test_they_are_those_of_the_real_cache_of_every_family(family):
    """To the byte, reduced or not: every tile keeps whole tokens, of its own grid."""
    model = built(SAMPLES[family])
    adapter, target = adapter_of(model), target_of(model)
    prompts = adapter.encode(batches(SAMPLES[family])["one"])
    visual = sum(rows * columns * many for (rows, columns), many in prompts.layout.units)
    text = prompts.x_bsd.shape[1] - visual
    context = CostContext(shape_of(model), target, text, model, units=prompts.layout.units)
    third, fifth = max(1, target.tokens // 3), max(1, target.tokens // 5)
    for sites in ((), ((1, third),), ((0, third), (2, fifth))):
        made = tuple(SiteSpec(layer=layer, keep=keep, score={"norm": 1.0}) for layer, keep in sites)
        one = OperatorSpec(target=target, sites=made) if sites else None
        with reducing(model, one, prompts.layout) if one else nullcontext():
            _, cache = adapter.start(prompts)
        held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
        assert KvBytes().measure(context, one) == held


def test_the_relaxed_form_of_a_single_site():
    soft = KvBytes().relaxed(context("bundled-qwen"), [SimpleNamespace(layer=2)], [torch.tensor(10.0)])
    assert float(soft) == KvBytes().measure(context("bundled-qwen"), operator((2, 10)))
