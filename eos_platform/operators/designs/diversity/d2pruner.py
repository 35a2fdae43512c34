"""D2Pruner: keep what the last text token attends to more than is usual at its place, and of the rest what is unlike.

Source: "D2Pruner: Debiased Importance and Structural Diversity for MLLM Token Pruning", AAAI 2026, arXiv 2512.19443.

Parameters: one site before layer 2 of 32 (the same depth in other models), on ``last_text``; 70 % of what stays are
the best (``important``), selector ``suppress`` (theta .8) takes the rest: best first, none whose cosine with one of the
rest that stays is above theta, as long as there are such. gamma = 0, positions kept.

Deviations: the prior, mean attention of every place over many pictures, is of a model and no number anybody published:
``eos_platform.analysis.experiments.position_prior`` measures it and puts it into the operator (``prior``), as the table
of designs does; as built here, attention is as it is. Attention is that of layer 2 instead of the layer before; tokens
of the 70 % bar none of the rest; similarity is the cosine alone, as for questions (for grounding the authors add how
near tokens are). Read in the paper: no code was to be had. No counts are published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, positions_knob
from eos_platform.operators.designs.schedule import depth, one_stage
from eos_platform.operators.spec import SiteSpec, Suppression, Target


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    layer, keep = one_stage(target, tokens, knobs["layer"])
    site = SiteSpec(
        layer=layer,
        keep=keep,
        selector="suppress",
        important=min(round(knobs["important"] * keep), keep),
        score={"last_text": 1.0},
        suppress=Suppression(theta=knobs["theta"]),
        positions=knobs["positions"],
    )
    return (site,)


def _knobs(target: Target) -> tuple[Knob, ...]:
    own = depth(2, target)
    return (
        Knob("layer", own, 0, max(own, target.layers // 2)),
        Knob("important", 0.7, 0.05, 0.95),
        Knob("theta", 0.8, 0.1, 0.99),
        positions_knob("keep"),
    )


D2PRUNER = Design(
    "d2pruner",
    "prune",
    "AAAI 2026, arXiv 2512.19443",
    "keeps attended tokens, then unlike ones",
    _make,
    _knobs,
    prior_of="last_text",
)
