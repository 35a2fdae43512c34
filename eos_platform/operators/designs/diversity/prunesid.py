"""PruneSID: every principal component of the picture keeps its best tokens that are unlike each other.

Source: PruneSID, ICLR 2026, arXiv 2603.09480.

Parameters: selector ``suppress`` on ``vision`` before the language model, among the tokens of one group; groups are a
quarter as many principal components as tokens stay (``components``); two are too alike above T / 32 times the mean
cosine of the picture (``relative``). A group keeps one and a share by its tokens that nobody bars (``survivors``), at
most 5 ceil(T / 64) unless all together are too few. gamma = 0, positions renumbered.

Deviations: tokens are grouped and compared after the projector instead of in the vision tower; components are exact,
where the original's are found at random and vary from run to run; the class token does not reach the language model
(the counts are those that do, so one more patch does); order stays that of the image instead of group by group. Counts
are the same for every picture (the code has no others either).

Published: 192, 128 and 64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, as_published, positions_knob
from eos_platform.operators.designs.schedule import whole
from eos_platform.operators.spec import Quota, SiteSpec, Suppression, Target


def _site(
    keep: int, share: float = 0.25, theta: float = 1 / 32, feature: str = "vision", positions: str = "renumber"
) -> SiteSpec:
    groups = max(1, int(share * keep))
    return SiteSpec(
        layer=0,
        keep=keep,
        selector="suppress",
        score={feature: 1.0},
        suppress=Suppression(theta=keep * theta, relative=True),
        quota=Quota(groups=groups, kind="components", share="survivors", cap=5 * math.ceil(keep / 64)),
        positions=positions,  # type: ignore[arg-type]
    )


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    return (_site(whole(tokens), *(knobs[name] for name in ("components", "theta", "feature", "positions"))),)


def _knobs(target: Target) -> tuple[Knob, ...]:
    return (
        Knob("components", 0.25, 0.02, 1.0, log=True),
        Knob("theta", 1 / 32, 1 / 512, 1 / 8, log=True),
        Knob("feature", "vision", choices=("vision", "received")),
        positions_knob("renumber"),
    )


PRUNESID = Design(
    "prunesid",
    "prune",
    "ICLR 2026, arXiv 2603.09480",
    "keeps unlike tokens of every component",
    _make,
    _knobs,
    {nominal: as_published("prunesid", nominal, _site(nominal)) for nominal in (192, 128, 64)},
)
