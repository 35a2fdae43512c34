"""TOPS, first stage: attention, coverage and distance, added up.

Source: "TOPS", 2026 (a preprint without an arXiv number; no code was published).

Parameters: selector ``coverage`` before the language model, weighing ``sum``: first the best by ``vision``, then always
the largest sum of attention, ``coverage`` times what the token adds to the sum over all tokens of their largest cosine
to a kept one, and ``distance`` times one minus its largest cosine to a kept one; each term brought to [0, 1], the last
two over the tokens not yet picked. gamma = 0, positions renumbered.

Deviations: the second stage, inside the language model, is left out (its schedule is not known). Both weights are 1;
the authors name an interval from .5 to 1.

Published: 128, 64 and 32, as the counts before the language model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, as_published, positions_knob
from eos_platform.operators.designs.schedule import whole
from eos_platform.operators.spec import Coverage, SiteSpec, Target


def _site(
    keep: int, weight: float = 1.0, spread: float = 1.0, positions: str = "renumber", feature: str = "vision"
) -> SiteSpec:
    return SiteSpec(
        layer=0,
        keep=keep,
        selector="coverage",
        score={feature: 1.0},
        coverage=Coverage(weight=weight),
        spread=spread,
        positions=positions,  # type: ignore[arg-type]
    )


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    names = ("coverage", "distance", "positions", "feature")
    return (_site(whole(tokens), *(knobs[name] for name in names)),)


def _knobs(target: Target) -> tuple[Knob, ...]:
    weights = (Knob("coverage", 1.0, 0.0, 2.0), Knob("distance", 1.0, 0.0, 2.0))
    return (*weights, Knob("feature", "vision", choices=("vision", "received")), positions_knob("renumber"))


TOPS = Design(
    "tops",
    "prune",
    "TOPS, 2026, stage I",
    "attends, covers and is unlike, added",
    _make,
    _knobs,
    {nominal: as_published("tops", nominal, _site(nominal)) for nominal in (128, 64, 32)},
)
