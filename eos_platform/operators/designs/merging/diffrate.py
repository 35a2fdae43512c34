"""DiffRate: in every block of the vision tower, prune what the class token ignores, then merge some of the rest.

Source: Chen, Shao, Xu, Lin, Zhang, Chao, Ji, Qiao, Luo, "DiffRate: Differentiable Compression Rate for Efficient
Vision Transformers", arXiv 2305.17997.

Parameters: tower sites before every used block from the second on; selector ``score`` on ``vision``; of those that
go, the better half (``among``) is merged into the most similar token that stays (gamma = 1, tau = 0, nu = 1), the
others are discarded; beta = 1 (sizes bias attention).

Deviations: the original learns how many to prune and to merge in each block of a classifier; nobody has for a LLaVA, so
every block removes the same number here, and the share merged is a knob. A site stands before a block instead of
between its attention and its MLP, so the attention is that of the block to come and the last used block removes
nothing. Means are weighted by sizes (the original averages tokens as they are). Order stays that of the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob
from eos_platform.operators.designs.schedule import evenly, tower_blocks, whole
from eos_platform.operators.spec import SiteSpec, Target, Transfer


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    blocks = tower_blocks(target)[knobs["first"] - 1 :]
    sites, left = [], target.tokens
    for block, keep in zip(blocks, evenly(left, whole(tokens), len(blocks)), strict=True):
        if keep < left:
            gone = left - keep
            merged = max(1, round(knobs["merged"] * gone))
            among = (merged - 0.5) / gone  # floor(among gone) + 1 give
            site = SiteSpec(
                place="tower",
                layer=block,
                keep=keep,
                score={"vision": 1.0},
                transfer=Transfer(gamma=1.0, tau=0.0, nu=1.0, among=among),
                beta=knobs["beta"],
            )
            sites.append(site)
            left = keep
    return tuple(sites)


def _knobs(target: Target) -> tuple[Knob, ...]:
    return (
        Knob("merged", 0.5, 0.0, 1.0),
        Knob("first", 1, 1, max(1, target.vision_layers - 1)),
        Knob("beta", 1.0, 0.0, 1.0),
    )


DIFFRATE = Design(
    "diffrate",
    "hybrid",
    "Chen et al., arXiv 2305.17997",
    "prunes and merges, block by block",
    _make,
    _knobs,
)
