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

from eos_platform.operators.designs.base import Design
from eos_platform.operators.spec import SiteSpec, Support, Target, Transfer


def _sites(target: Target, keep: int, layer: int) -> tuple[SiteSpec, ...]:
    mean = Transfer(gamma=1.0, tau=math.inf, nu=1.0, support=Support(kind="window", size=keep))
    return (SiteSpec(layer=layer, keep=keep, selector="grid", transfer=mean),)


POOL = Design(
    "pool",
    "pool",
    "average pooling, as in Cai et al., arXiv 2405.17430",
    "averages the tokens of each window, before the language model",
    _sites,
)
