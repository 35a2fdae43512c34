"""Analytic FLOPs of every kind of site, as they were last looked at: small terms too, which a tolerance would hide."""

import itertools
import math

import pytest
import torch
from pydantic import ValidationError

from eos_platform.costs.flops import (
    DecoderShape,
    VisionShape,
    compute_ratio,
    layer_flops,
    prefill_flops,
    soft_compute_ratio,
    vision_flops,
    whole_model_ratio,
)
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.site import SiteSpec
from eos_platform.operators.spec import ALL_FEATURES, FEATURES, OperatorSpec, Steering, Target

TARGET = Target(layers=5, grid=(6, 8), vision_layers=4)
SHAPE = DecoderShape(layers=5, hidden=96, heads=6, kv_heads=2, head_dim=20, intermediate=250, vocab=999, key_width=24)
VISION = VisionShape(
    tokens=48, layers=5, hidden=72, intermediate=130, patch=27, text_hidden=96, used=2, head_dim=24, depth=4
)
TEXT = 13
PROBED = {"probe": [0.5] * 96, "steering": Steering.of(torch.ones(3, 96), torch.ones(3, 96))}
TRANSFERS = {
    "prune": {},
    "merge": {"gamma": 1.0},
    "merge keys": {"gamma": 1.0, "to": "destinations"},
    "soft": {"gamma": 1.0, "tau": 0.2},
    "pool": {"gamma": 1.0, "tau": "inf"},
    "windows": {"gamma": 1.0, "tau": "inf", "support": {"kind": "window", "size": 12}},
    "nearest": {"gamma": 1.0, "tau": 0.1, "support": {"kind": "nearest", "size": 3}},
    "anchors": {"gamma": 1.0, "tau": "inf", "by": "anchor", "support": {"kind": "nearest", "size": 3}},
    "few": {"gamma": 1.0, "among": 0.3, "metric": "distance", "tau": 0.2},
}
SELECTORS = (
    "score",
    "diverse_topk",
    "grid",
    "alternate",
    "farthest",
    "random",
    "spaced",
    "bipartite",
    "density",
    "pivots",
)
ASIDE = {"plain": {}, "important": {"important": 5}, "summary": {"summary": True}, "keys": {"similarity": "keys"}}


def operator(*sites):
    return OperatorSpec.model_validate({"target": TARGET, "sites": sites})


def costs(made):
    return [
        compute_ratio(made, SHAPE, TEXT),
        prefill_flops(SHAPE, TEXT, made, 48),
        vision_flops(VISION, made),
        whole_model_ratio(made, SHAPE, VISION, TEXT),
    ]


def test_recorded_costs(recorded):
    found = {"none": [prefill_flops(SHAPE, TEXT, None, 48), vision_flops(VISION), layer_flops(SHAPE, 61)]}
    for selector, (name, transfer), (aside, more) in itertools.product(
        (*SELECTORS, "dpp"), TRANSFERS.items(), ASIDE.items()
    ):
        if aside != "plain" and name not in ("merge", "merge keys", "soft"):
            continue
        site = {"layer": 2, "keep": 29, "selector": selector, "score": {"norm": 1.0}, "transfer": transfer, **more}
        try:
            found[f"{selector}, {name}, {aside}"] = costs(operator(site))
        except ValidationError:
            continue
    for feature, layer in itertools.product(ALL_FEATURES, (0, 3)):
        try:
            site = {"layer": layer, "keep": 17, "score": {feature: 1.0}}
            found[f"{feature}, {layer}"] = costs(operator(site))
            found[f"{feature}, {layer}, twice"] = costs(operator(site, site | {"layer": 4, "keep": 9}))
        except ValidationError:
            continue
    for feature in ("vision", "norm", "uniqueness"):
        site = {"layer": 2, "keep": 17, "place": "tower", "score": {feature: 1.0}}
        found[f"{feature} in the tower"] = costs(operator(site))
    found["keys in the tower"] = costs(
        operator({"layer": 1, "keep": 30, "place": "tower", "selector": "alternate", "similarity": "keys"})
    )
    found["probe"] = costs(operator({"layer": 1, "keep": 30, **PROBED}))
    found["probe, cover"] = costs(operator({"layer": 0, "keep": 30, "selector": "diverse_topk", **PROBED}))
    found["all stay"] = costs(operator({"layer": 1, "keep": 48, "rho": 0.5, **PROBED}))
    found["drop_all"] = costs(operator({"layer": 2, "keep": 0, "selector": "drop_all"}))
    found["shrunk"] = costs(OperatorSpec(target=TARGET, image=(3, 4)))
    recorded("costs", found)


@pytest.mark.parametrize("tokens", [1, 48, 61])
def test_a_layer_is_its_projections_its_mlp_and_its_attention(tokens):
    query, key = 96 * 6 * 20, 96 * 2 * 20
    products = 2 * query + 2 * key + 3 * 96 * 250  # q and o, k and v, gate, up and down
    attention = 2 * 6 * tokens * tokens * 20  # logits, and the sum of values
    assert layer_flops(SHAPE, tokens) == 2 * (products * tokens + attention)


@pytest.mark.parametrize("selector", ["score", "diverse_topk"])
def test_recorded_soft_costs(recorded, selector):
    found = {}
    for probe, gone in itertools.product((False, True), (0.0, 0.4, 20.5)):
        site = SiteSpec(layer=1, keep=29, selector=selector, score={"norm": 1.0}, **(PROBED if probe else {}))
        relaxed = RelaxedSite.of(site)
        relaxed.features = FEATURES if not probe else ("norm", "uniqueness")
        last = RelaxedSite.of(SiteSpec(layer=3, keep=9, score={"norm": 1.0}))
        counts = [torch.tensor(48.0 - gone, dtype=torch.float64, requires_grad=True), torch.tensor(9.5)]
        ratio = soft_compute_ratio([relaxed, last], counts, SHAPE, 48, TEXT)
        (slope,) = torch.autograd.grad(ratio, counts[0])
        found[f"probe {probe}, {gone} gone"] = [ratio.item(), slope.item()]
    assert not any(math.isnan(value) for row in found.values() for value in row)
    recorded(f"soft-costs-{selector}", found)
