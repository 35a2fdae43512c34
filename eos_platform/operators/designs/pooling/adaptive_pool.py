"""Adaptive average pooling: a smaller grid of means, over windows that overlap where they do not divide the grid.

Source: common practice in projectors (there trained), e.g. Yao et al., "DeCo", arXiv 2405.20985.

Parameters: selector ``grid`` and transfer by anchor over support ``overlap`` (the windows of adaptive pooling; a token
in two windows gives to both), gamma = 1, tau = inf, nu = 1 (the mean of the window), positions kept.

Deviations: pooled features are often numbered anew. Counts are those of grids at most twice as stretched as the
model's (knob ``stretch``), so what is built may be a few tokens below what is asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, positions_knob
from eos_platform.operators.designs.schedule import shape_within
from eos_platform.operators.spec import SiteSpec, Support, Target, Transfer


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    keep = math.prod(shape_within(target.grid, tokens, knobs["stretch"]))
    overlap = Support(kind="overlap", size=keep)
    mean = Transfer(gamma=1.0, tau=math.inf, nu=1.0, support=overlap, by="anchor")
    return (SiteSpec(layer=0, keep=keep, selector="grid", transfer=mean, positions=knobs["positions"]),)


ADAPTIVE_POOL = Design(
    "adaptive-pool",
    "pool",
    "Yao et al., arXiv 2405.20985",
    "averages overlapping windows",
    _make,
    lambda target: (Knob("stretch", 2.0, 1.0, 3.0), positions_knob("keep")),
    coarse=True,
)
