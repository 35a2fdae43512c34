"""ZOO-Prune: unlike tokens, each weighing by how sensitive the projector is to it.

Source: "ZOO-Prune: Training-Free Token Pruning via Zeroth-Order Gradient Estimation in Vision-Language Models", arXiv
2509.24837.

Parameters: before the language model, selector ``diverse_topk`` on ``norm``, weighing ``product``, spread 1 (first the
largest, then always the largest product of norm, brought to [0, 1], and distance to those picked), gamma = 0, positions
renumbered.

Deviations: sensitivity is measured by 128 passes of perturbed tokens through the projector originally; here the norm of
the projected token stands for it (ranks of the two agree to .986 on one merger), which costs nothing. Distances below
.001 are equal.

Published: 192, 128 and 64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, as_published, positions_knob
from eos_platform.operators.designs.schedule import whole
from eos_platform.operators.spec import SiteSpec, Target


def _site(keep: int, positions: str = "renumber") -> SiteSpec:
    return SiteSpec(
        layer=0,
        keep=keep,
        selector="diverse_topk",
        score={"norm": 1.0},
        weighing="product",
        spread=1.0,
        positions=positions,  # type: ignore[arg-type]
    )


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    return (_site(whole(tokens), knobs["positions"]),)


ZOO_PRUNE = Design(
    "zoo-prune",
    "prune",
    "CVPR 2026, arXiv 2509.24837",
    "keeps sensitive, unlike tokens",
    _make,
    lambda target: (positions_knob("renumber"),),
    {nominal: as_published("zoo-prune", nominal, _site(nominal)) for nominal in (192, 128, 64)},
)
