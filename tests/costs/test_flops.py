"""The analytic FLOPs are those of the model that runs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.costs.flops import (
    DecoderShape,
    PlanCost,
    compute_ratio,
    prefill_flops,
    shape_of,
    soft_compute_ratio,
    vision_flops,
    vision_shape_of,
    whole_model_ratio,
)
from eos_platform.costs.profiled_flops import counted_flops, counted_vision_flops
from eos_platform.models.runtime.attach import attached
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import FEATURES, OperatorSpec, Steering, Target

TEXT = 11
LLAMA_7B = DecoderShape(32, 4096, 32, 32, 128, 11008, 32000)


@pytest.mark.parametrize("kind", ["model", "eager"])
def test_analytic_agrees_with_counted(
    small: Any, request: pytest.FixtureRequest, spec: OperatorSpec, kind: str
) -> None:
    model = request.getfixturevalue(kind)
    shape = shape_of(model)
    assert prefill_flops(shape, TEXT, spec, small.tokens) == pytest.approx(counted_flops(model, spec, TEXT), rel=0.01)
    full = counted_flops(model, None, TEXT)
    assert prefill_flops(shape, TEXT, None, small.tokens) == pytest.approx(full, rel=0.01)
    assert compute_ratio(spec, shape, TEXT) == pytest.approx(counted_flops(model, spec, TEXT) / full, rel=0.01)


def test_a_plan_costs_what_its_parts_do(small: Any, model: Any, spec: OperatorSpec) -> None:
    shape, plan = shape_of(model), OperatorPlan.of(spec)
    cost = PlanCost.of(plan, shape, TEXT)
    assert cost.total == prefill_flops(shape, TEXT, spec, small.tokens)
    assert cost.logits == 2 * shape.hidden * shape.vocab  # of the last position
    assert cost.total == pytest.approx(cost.logits + cost.opening + sum(cost.sites) + sum(cost.layers))
    assert len(cost.sites) == len(spec.decoder_sites)
    for planned, flops in zip(plan.decoder, cost.sites, strict=True):
        assert planned.active or flops == 0
    steps = zip(pairwise(cost.layers), pairwise(plan.lengths(TEXT)), strict=True)
    assert all((flops < before) == (tokens < arriving) for (before, flops), (arriving, tokens) in steps)


STEERING = Steering.of(torch.ones(9, 64), torch.ones(9, 64))


@pytest.mark.parametrize(
    "site",
    [
        {"layer": 0, "keep": 40, "selector": "farthest"},
        {"layer": 1, "keep": 32, "selector": "alternate"},
        {"layer": 0, "keep": 16, "selector": "random", "transfer": {"gamma": 1.0, "tau": "inf"}},
        {
            "layer": 0,
            "keep": 16,
            "selector": "grid",
            "transfer": {"gamma": 1.0, "tau": 0.1, "support": {"kind": "window", "size": 16}},
        },
        {
            "layer": 2,
            "keep": 8,
            "score": {"uniqueness": 1.0},
            "transfer": {"gamma": 0.5, "tau": 0.1, "support": {"kind": "nearest", "size": 3}},
        },
        {"layer": 1, "keep": 60, "score": {"mean_text": 1.0, "last_text": 1.0, "uniqueness": 1.0}},
        {"layer": 0, "keep": 31, "score": {"raters": 1.0}},
        {"layer": 2, "keep": 31, "score": {"corrected": 1.0}},
        {"layer": 2, "keep": 31, "score": {"corrected": 1.0, "raters": 1.0, "mean_text": 1.0, "last_text": 1.0}},
        {"layer": 1, "keep": 31, "score": {"relevance": 1.0}},
        {"layer": 1, "keep": 31, "score": {"key_norm": 1.0}},
        {"layer": 1, "keep": 31, "score": {"key_norm": 1.0}, "selector": "pivots"},
        {"layer": 0, "keep": 31, "score": {"relevance": 1.0}, "selector": "dpp"},
        {"layer": 0, "keep": 31, "score": {"relevance": 1.0}, "selector": "diverse_topk", "spread": 0.5},
        {"layer": 0, "keep": 31, "probe": [0.5] * 64, "selector": "diverse_topk", "spread": 0.5},
        {
            "layer": 0,
            "keep": 31,
            "score": {"norm": 1.0},
            "probe": [0.5] * 64,
            "steering": STEERING,
            "selector": "diverse_topk",
        },
        {"layer": 2, "keep": 31, "probe": [0.5] * 64, "steering": STEERING},
        {"layer": 0, "keep": 31, "important": 16, "score": {"vision": 1.0}, "selector": "bipartite"},
        {
            "layer": 0,
            "keep": 31,
            "important": 20,
            "score": {"vision": 1.0},
            "selector": "spaced",
            "similarity": "keys",
            "transfer": {"gamma": 1.0, "nu": 0.0, "mu": 1.0, "to": "destinations"},
        },
        {
            "layer": 2,
            "keep": 31,
            "important": 26,
            "score": {"raters": 1.0},
            "selector": "density",
            "transfer": {"gamma": 1.0, "to": "destinations", "among": 0.3, "metric": "distance"},
        },
        {
            "layer": 0,
            "keep": 31,
            "score": {"next_vision": 1.0},
            "similarity": "keys",
            "summary": True,
            "transfer": {
                "gamma": 1.0,
                "tau": "inf",
                "nu": 0.0,
                "source": "attention",
                "by": "anchor",
                "support": {"kind": "nearest", "size": 5},
            },
        },
        {
            "layer": 0,
            "keep": 30,
            "selector": "grid",
            "transfer": {"gamma": 1.0, "tau": "inf", "by": "anchor", "support": {"kind": "overlap", "size": 30}},
        },
        {
            "layer": 0,
            "keep": 40,
            "selector": "alternate",
            "transfer": {"gamma": 1.0, "to": "destinations", "among": 0.5},
            "score": {"norm": 1.0},
        },
    ],
    ids=lambda site: "-".join((site.get("selector", ""), *site.get("score", ()))),
)
def test_a_site_costs_what_it_costs(small: Any, model: Any, site: Any) -> None:
    """The difference a site makes, to 1 % of itself: small beside the layers, it must not hide behind them."""
    spec = small.operator(site)
    layers = small.operator({"layer": site["layer"], "keep": site["keep"], "selector": "random"})
    counted = counted_flops(model, spec, TEXT) - counted_flops(model, layers, TEXT)
    shape = shape_of(model)
    analytic = prefill_flops(shape, TEXT, spec, 64) - prefill_flops(shape, TEXT, layers, 64)
    assert analytic == pytest.approx(counted, rel=0.01)


def test_a_site_of_wide_tokens_costs_what_it_costs(small: Any, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eos_platform.operators.selectors.diverse_topk.WIDE", 8)
    moved = {"gamma": 0.8, "tau": 0.1, "nu": 0.5}
    for transfer in ({}, moved, {**moved, "tau": 0.0}):
        site = {"layer": 0, "keep": 31, "score": {"norm": 1.0}, "selector": "diverse_topk", "transfer": transfer}
        test_a_site_costs_what_it_costs(small, model, site)


TOWER: dict[str, tuple[tuple[int, int] | None, list[dict[str, Any]]]] = {
    "image": ((5, 4), []),
    "tower": (None, [{"place": "tower", "layer": 1, "keep": 30, "score": {"vision": 1.0, "uniqueness": 0.5}}]),
    "merge": (
        None,
        [
            {
                "place": "tower",
                "layer": layer,
                "keep": keep,
                "selector": "alternate",
                "similarity": "keys",
                "beta": 1.0,
                "transfer": {"gamma": 1.0, "to": "destinations"},
            }
            for layer, keep in ((0, 40), (1, 22))
        ],
    ),
    "all": (
        (6, 8),
        [
            {"place": "tower", "layer": 1, "keep": 30, "score": {"vision": 1.0}},
            {"layer": 0, "keep": 20, "score": {"vision": 1.0, "relevance": 0.3}, "similarity": "keys"},
            {"layer": 2, "keep": 10, "score": {"next_vision": 1.0, "raters": 1.0}, "transfer": {"gamma": 1.0}},
        ],
    ),
}


@pytest.mark.parametrize("name", TOWER)
@pytest.mark.parametrize("kind", ["model", "eager"])
def test_less_seen_costs_less(small: Any, request: pytest.FixtureRequest, kind: str, name: str) -> None:
    model = request.getfixturevalue(kind)
    image, sites = TOWER[name]
    spec = small.operator(*sites, image=image)
    shape, vision = shape_of(model), vision_shape_of(model)
    assert prefill_flops(shape, TEXT, spec, small.tokens) == pytest.approx(counted_flops(model, spec, TEXT), rel=0.01)
    assert vision_flops(vision, spec) == pytest.approx(counted_vision_flops(model, spec), rel=0.01)
    both = counted_flops(model, spec, TEXT) + counted_vision_flops(model, spec)
    full = counted_flops(model, None, TEXT) + counted_vision_flops(model)
    assert whole_model_ratio(spec, shape, vision, TEXT) == pytest.approx(both / full, rel=0.01)
    plain = small.operator(
        *({**site, "selector": "random", "transfer": {}, "score": {}} for site in sites), image=image
    )
    extra = counted_vision_flops(model, spec) - counted_vision_flops(model, plain)
    assert vision_flops(vision, spec) - vision_flops(vision, plain) == pytest.approx(extra, rel=0.01)


def test_vision_tower_and_projector(small: Any, model: Any) -> None:
    shape, vision = shape_of(model), vision_shape_of(model)
    assert vision_flops(vision) == pytest.approx(counted_vision_flops(model), rel=0.01)
    spec = small.operator(*small.sites["vision"])
    reading = vision_flops(vision, spec)
    with attached(model, spec):
        assert reading == pytest.approx(counted_vision_flops(model), rel=0.01)
    language, whole = compute_ratio(spec, shape, TEXT), whole_model_ratio(spec, shape, vision, TEXT)
    tower, full = vision_flops(vision), prefill_flops(shape, TEXT, None, 64)
    assert whole == pytest.approx((language * full + reading) / (full + tower))
    assert language < whole < 1


def test_known_model() -> None:
    """LLaVA-1.5-7B with 576 + 60 tokens: 2 x its 6.5 billion decoder weights a token, plus attention."""
    weights = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    expected = 2 * 636 * weights + 32 * 4 * 636**2 * 4096 + 2 * 4096 * 32000
    assert prefill_flops(LLAMA_7B, 60, None, 576) == pytest.approx(expected, rel=1e-6)


def test_soft_ratio_meets_the_deployed_one() -> None:
    target = Target(layers=32, grid=(24, 24))
    score = dict.fromkeys(FEATURES, 1.0)
    sites = [
        {"layer": 0, "keep": 300, "score": score, "transfer": {"gamma": 1.0}},
        {"layer": 2, "keep": 100, "score": score, "transfer": {"gamma": 1.0}},
        {"layer": 2, "keep": 60, "score": score, "transfer": {"gamma": 0.5, "tau": 0.3}},
    ]
    spec = OperatorSpec.model_validate({"target": target.model_dump(), "sites": sites})
    relaxed = [RelaxedSite.of(site) for site in spec.sites]
    soft = soft_compute_ratio(relaxed, [site.count for site in relaxed], LLAMA_7B, 576, 60)
    assert float(soft) == pytest.approx(compute_ratio(spec, LLAMA_7B, 60), rel=0.01)


def test_soft_ratio_has_gradients_and_no_price_for_idle_sites() -> None:
    spec = OperatorSpec.model_validate(
        {
            "target": {"layers": 32, "grid": [24, 24]},
            "sites": [{"layer": layer, "keep": 576, "score": {"norm": 1.0}} for layer in (0, 3, 9)],
        }
    )
    relaxed = [RelaxedSite.of(site) for site in spec.sites]
    counts = [site.count.requires_grad_() for site in relaxed]
    soft = soft_compute_ratio(relaxed, counts, LLAMA_7B, 576, 60)
    assert soft.item() == pytest.approx(1.0, abs=1e-6)
    counts = [torch.tensor(value, requires_grad=True) for value in (400.0, 200.0, 50.0)]
    soft = soft_compute_ratio(relaxed, counts, LLAMA_7B, 576, 60)
    grads = torch.autograd.grad(soft, counts)
    assert all(grad > 0 for grad in grads)
    assert grads[2] > grads[0]  # more layers run on what the last site leaves


def test_refusals(small: Any, model: Any) -> None:
    spec = small.operator(*small.sites["prune"])
    with pytest.raises(EosError, match="for 4 decoder layers and 64 visual tokens; here are 32 and 64"):
        prefill_flops(LLAMA_7B, 10, spec, 64)
    with pytest.raises(EosError, match="text before and after"):
        counted_flops(model, spec, 1)
