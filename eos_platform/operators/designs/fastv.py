"""FastV: after a couple of layers, discard the visual tokens the last text token attends to least.

Source: Chen, Zhao, Liu, Yan, Zhang, Lin, Zhou, Chang, "An Image is Worth 1/2 Tokens After Layer 2", arXiv 2403.06764.

Parameters: selector ``score`` on ``last_text`` alone, gamma = 0, positions kept, one site before layer 2 of 32 (the
same depth in other models, never before layer 1).

Deviations: the original ranks by the attention map of layer K - 1; here the one query row is recomputed with the
projections of layer K from the tokens that enter it, so that no layer has to expose its attention. Budgets that no
count can meet at that depth (the layers before see every token) are met by the same rule before the language model.
"""

from __future__ import annotations

from eos_platform.operators.designs.base import Design
from eos_platform.operators.spec import SiteSpec, Target


def _layers(target: Target) -> tuple[int, ...]:
    own = min(max(1, round(2 / 32 * target.layers)), target.layers - 1)
    return (own, 0) if own else (0,)


def _sites(target: Target, keep: int, layer: int) -> tuple[SiteSpec, ...]:
    return (SiteSpec(layer=layer, keep=keep, score={"last_text": 1.0}),)


FASTV = Design(
    "fastv",
    "prune",
    "Chen et al., arXiv 2403.06764",
    "keeps the tokens the last text token attends to most in an early layer, discards the rest",
    _sites,
    _layers,
)
