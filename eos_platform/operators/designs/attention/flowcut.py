"""FlowCut: all the way up the vision tower, discard what least flows to the class token.

Source: Tong et al., "FlowCut: Rethinking Redundancy via Information Flow for Efficient Vision-Language Models", NeurIPS
2025, arXiv 2505.19536.

Parameters: tower sites before every second used block from the second on (1, 3, .., 21 of LLaVA-1.5's), selector
``score`` on ``flow``: the class token's attention plus the softmax of products of values with its own, each summing to
1, times the L1 norm of the value; of what a block says and what those before it said, the mean (so that each counts
half as much as the next). gamma = 0. Of n tokens left, (n - T) ``pace`` / sqrt(blocks to go) leave, at the last site
all but T.

Deviations: how many leave follows from the entropy of the class token's attention originally, so that it differs from
picture to picture; here its place is taken by a constant (``pace``, .5), and the count at the end is the same. The mean
is over the blocks that sites stand before, not over all. No picture of more than one tile, and no site in the decoder.

Published: 192, 128 and 64, as the counts at the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import LLAVA, Design, Knob, as_published
from eos_platform.operators.designs.schedule import tower_blocks, whole
from eos_platform.operators.spec import SiteSpec, Target

PACE = 0.5


def _sites(target: Target, keep: int, pace: float = PACE) -> tuple[SiteSpec, ...]:
    blocks = tower_blocks(target)
    blocks = blocks[: len(blocks) - 1 : 2] if len(blocks) > 1 else blocks
    sites, left = list[SiteSpec](), target.tokens
    for block in blocks:
        gone = left - keep
        if block != blocks[-1]:
            gone = int(gone * pace / math.sqrt(blocks[-1] - block))
        if gone:
            left -= gone
            sites.append(SiteSpec(place="tower", layer=block, keep=left, score={"flow": 1.0}))
    return tuple(sites)


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    return _sites(target, whole(tokens), knobs["pace"])


FLOWCUT = Design(
    "flowcut",
    "prune",
    "Tong et al., arXiv 2505.19536",
    "keeps what flows to the class token",
    _make,
    lambda target: (Knob("pace", PACE, 0.05, 1.0, log=True),),
    {nominal: as_published("flowcut", nominal, *_sites(LLAVA, nominal)) for nominal in (192, 128, 64)},
)
