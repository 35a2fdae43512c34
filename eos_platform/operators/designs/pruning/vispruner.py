"""VisPruner: keep what the class token attends to, and of the rest what is least like the others.

Source: Zhang, Ma, Huang, Wang, Jin, Lu, Yang, Chen, "Beyond Text-Visual Attention: Exploiting Visual Cues for
Effective Token Pruning in VLMs", arXiv 2412.01818.

Parameters: before the language model, half of what stays is the best by ``vision`` (``important``); selector
``bipartite`` removes the most similar of the rest, eight at a time, until as many are left; gamma = 0, positions
renumbered.

Deviations: similarity is the cosine of the projected features instead of the vision tower's. An odd number of rest
tokens, which the original cannot take, has one even place more than odd ones.

Published: half important at every count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, as_published, positions_knob
from eos_platform.operators.designs.schedule import whole
from eos_platform.operators.spec import SiteSpec, Target


def _site(keep: int, important: int, positions: str = "renumber") -> SiteSpec:
    diverse = keep > important
    return SiteSpec(
        layer=0,
        keep=keep,
        selector="bipartite" if diverse else "score",
        important=important if diverse else 0,
        score={"vision": 1.0},
        positions=positions,  # type: ignore[arg-type]
    )


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    keep = whole(tokens)
    return (_site(keep, max(1, int(knobs["important"] * keep)), knobs["positions"]),)


VISPRUNER = Design(
    "vispruner",
    "prune",
    "Zhang et al., arXiv 2412.01818",
    "keeps attended tokens, then unlike ones",
    _make,
    lambda target: (Knob("important", 0.5, 0.05, 0.95), positions_knob("renumber")),
    {nominal: as_published("vispruner", nominal, _site(nominal, nominal // 2)) for nominal in (192, 128, 64)},
)
