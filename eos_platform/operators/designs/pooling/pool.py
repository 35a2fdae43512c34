"""Average pooling: one token a window, its mean.

Source: common practice; as a baseline for visual tokens, e.g. Cai et al., "Matryoshka Multimodal Models",
arXiv 2405.17430.

Parameters: selector ``grid`` (the middle token of each window stays), support ``window`` of as many windows, gamma = 1,
tau = inf (all tokens of a window alike), nu = 1 (their mean), positions kept.

Deviations: pooled features are often numbered anew; kept positions are the stronger baseline on the bundled models.
Otherwise none where the count factors into equal windows (it is then exactly average pooling with that stride);
other counts cut the grid into bands of rows, each into nearly equal columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, positions_knob
from eos_platform.operators.designs.schedule import whole
from eos_platform.operators.spec import SiteSpec, Support, Target, Transfer


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    keep = whole(tokens)
    mean = Transfer(gamma=1.0, tau=math.inf, nu=1.0, support=Support(kind="window", size=keep))
    return (SiteSpec(layer=0, keep=keep, selector="grid", transfer=mean, positions=knobs["positions"]),)


POOL = Design(
    "pool",
    "pool",
    "Cai et al., arXiv 2405.17430",
    "averages the tokens of each window",
    _make,
    lambda target: (positions_knob("keep"),),
)
