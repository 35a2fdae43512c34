"""Operators to try on any model: corners of the space, at its first layers and later ones."""

from __future__ import annotations

from typing import Any

import torch

from eos_platform.operators.spec import OperatorSpec, SiteSpec, Steering, Target

# shares of the visual tokens, and what else a site is
SHAPES: dict[str, list[tuple[float, dict[str, Any]]]] = {
    "prune": [(0.4, {"layer": 1, "score": {"last_text": 1.0}})],
    "prune at 0": [(0.5, {"layer": 0, "score": {"mean_text": 1.0, "uniqueness": 0.3}})],
    "merge at 0": [(0.5, {"layer": 0, "score": {"norm": 1.0}, "transfer": {"gamma": 1.0}, "beta": 0.7})],
    "pool": [
        (
            0.25,
            {
                "layer": 2,
                "selector": "grid",
                "beta": 1.0,
                "transfer": {"gamma": 1.0, "tau": "inf", "support": {"kind": "window", "size": 0.25}},
            },
        )
    ],
    "many": [
        (0.6, {"layer": 0, "score": {"relevance": 1.0}, "beta": 1.0, "transfer": {"gamma": 0.9}}),
        (0.4, {"layer": 1, "score": {"mean_text": 1.0, "key_norm": 0.2}, "rho": 0.4}),
        (0.2, {"layer": 3, "score": {"last_text": 1.0}, "transfer": {"gamma": 0.6, "tau": 0.2, "nu": 0.5}}),
    ],
    "two at 2": [
        (0.5, {"layer": 2, "selector": "alternate", "transfer": {"gamma": 1.0}, "beta": 0.3}),
        (0.2, {"layer": 2, "score": {"raters": 1.0}}),
        (0.1, {"layer": 3, "score": {"corrected": 1.0}}),
    ],
    "steered": [
        (
            0.5,
            {
                "layer": 0,
                "selector": "diverse_topk",
                "spread": 0.5,
                "steered": True,
                "transfer": {"gamma": 0.9},
                "beta": 1.0,
            },
        ),
        (0.3, {"layer": 2, "score": {"mean_text": 0.1}, "steered": True}),
    ],
    "variation": [
        (0.6, {"layer": 1, "score": {"variation": 1.0}}),
        (0.5, {"layer": 2, "score": {"last_text": 1.0}}),
        (0.3, {"layer": 2, "score": {"variation": 1.0, "norm": 0.1}}),
        (0.2, {"layer": 3, "score": {"variation": 1.0}}),
    ],
    "coverage": [
        (
            0.5,
            {
                "layer": 0,
                "selector": "coverage",
                "coverage": {"visual": 0.5, "temperature": 0.2, "text": 1.0, "text_temperature": 0.1},
            },
        ),
        (0.3, {"layer": 2, "score": {"last_text": 1.0}, "quota": {"groups": 4, "share": "mean"}}),
        (
            0.2,
            {
                "layer": 3,
                "selector": "suppress",
                "score": {"weighed_text": 1.0},
                "suppress": {"theta": 0.8, "relative": True},
                "quota": {"groups": 4, "share": "survivors"},
            },
        ),
    ],
    "product": [
        (
            0.5,
            {
                "layer": 0,
                "selector": "diverse_topk",
                "score": {"norm": 1.0, "uniqueness": -0.5},
                "mixing": "product",
                "weighing": "product",
                "spread": 1.0,
                "similarity": "centred",
            },
        ),
        (
            0.3,
            {"layer": 2, "selector": "coverage", "score": {"mean_text": 1.0}, "weighing": "raw", "coverage": {}},
        ),
        (0.2, {"layer": 3, "selector": "max_sum", "score": {"last_text": 1.0}}),
    ],
    "film": [
        (
            0.6,
            {
                "layer": 0,
                "scope": "film",
                "score": {"film_uniqueness": 1.0},
                "quota": {"kind": "frames", "share": "softmax", "feature": "film_distance"},
                "transfer": {"gamma": 1.0, "support": {"kind": "tube"}},
                "beta": 0.5,
            },
        ),
        (0.3, {"layer": 2, "scope": "film", "score": {"change": 1.0, "last_text": 0.5}}),
    ],
    "drop_all": [(0.0, {"layer": 2, "selector": "drop_all"})],
    "withdraw at 0": [(0.0, {"layer": 0, "selector": "drop_all"})],
}
RENUMBERED: dict[str, list[tuple[float, dict[str, Any]]]] = {
    "renumber": [
        (0.5, {"layer": 1, "score": {"norm": 1.0}, "positions": "renumber"}),
        (0.2, {"layer": 3, "score": {"last_text": 1.0}}),
    ],
    "renumber at 0": [
        (0.5, {"layer": 0, "score": {"norm": 1.0}, "positions": "renumber"}),
        (0.3, {"layer": 2, "score": {"last_text": 1.0}, "positions": "renumber"}),
    ],
}


def operators(target: Target, axes: int, width: int) -> dict[str, OperatorSpec]:
    """Every one of them, for a model of hidden states so wide; renumbering only where positions have one axis."""
    shapes = SHAPES if axes > 1 else SHAPES | RENUMBERED
    return {name: _made(name, target, sites, width) for name, sites in shapes.items()}


def _made(name: str, target: Target, sites: list[tuple[float, dict[str, Any]]], width: int) -> OperatorSpec:
    made = []
    for share, fields in sites:
        fields = {**fields, "keep": round(share * target.tokens)}
        if fields.pop("steered", False):
            probe_d, *matrices = torch.randn(5, width, generator=torch.Generator().manual_seed(0)).split([1, 2, 2])
            fields |= {"probe": probe_d[0].tolist(), "steering": Steering.of(*matrices)}
        support = fields.get("transfer", {}).get("support")
        if support and "size" in support:
            size = round(support["size"] * target.tokens)
            fields["transfer"] = {**fields["transfer"], "support": {**support, "size": size}}
        made.append(SiteSpec.model_validate(fields))
    return OperatorSpec(name=name, target=target, sites=tuple(made))


def gentle(target: Target) -> OperatorSpec:
    """One that drops nothing, and weighs every token the same up to rounding, but goes all the way through."""
    sites = [
        SiteSpec(layer=layer, keep=target.tokens, rho=1e-9, beta=1.0, score={"mean_text": 1.0}) for layer in (0, 1, 3)
    ]
    return OperatorSpec(name="gentle", target=target, sites=tuple(sites))


def plain(target: Target, layer: int) -> OperatorSpec:
    """One whose choice can be foretold, and which only drops."""
    keep = max(1, target.tokens // 3)
    return OperatorSpec(name="plain", target=target, sites=(SiteSpec(layer=layer, keep=keep, selector="grid"),))
