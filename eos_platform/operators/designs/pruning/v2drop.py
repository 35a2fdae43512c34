"""V2Drop: three times on the way down, discard the tokens that the layer before changed least.

Source: "Variation-aware Vision Token Dropping for Faster Large Vision-Language Models", CVPR 2026, arXiv 2509.01552.

Parameters: sites before layers 3, 17 and 22 of 32, selector ``score`` on ``variation`` (the Euclidean distance of what
enters the layer to what entered the one before), gamma = 0, positions kept. Counts lie on straight lines from none
through the published ones to all; where even none is too many at those depths all sites move earlier, no further than
needed. No attention is read.

Deviations: none in how tokens are reduced. A site that has moved before the first layer goes by the tokens' norm.

Published: what is called 192 keeps 288, 144 and 1, a mean of 202.8. The lists for 128 and 64 are not in the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import LLAVA, Design, Knob, as_published, positions_knob
from eos_platform.operators.designs.schedule import between, depth, stages
from eos_platform.operators.spec import SiteSpec, Target

LAYERS, COUNTS = (3, 17, 22), (288, 144, 1)


def _site(layer: int, keep: int, positions: str = "keep") -> SiteSpec:
    return SiteSpec(layer=layer, keep=keep, score={"variation": 1.0}, positions=positions)  # type: ignore[arg-type]


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    sites, before = list[SiteSpec](), target.tokens
    layers = [depth(layer, target, knobs["scale"]) for layer in LAYERS]
    for layer, keep in stages(target, tokens, layers, between([COUNTS], LLAVA.tokens)):
        if keep < before:
            sites.append(_site(layer, keep, knobs["positions"]))
            before = keep
    return tuple(sites)


V2DROP = Design(
    "v2drop",
    "prune",
    "CVPR 2026, arXiv 2509.01552",
    "keeps what layers change, in stages",
    _make,
    lambda target: (Knob("scale", 1.0, 0.1, 1.25, log=True), positions_knob("keep")),
    {192: as_published("v2drop", 192, *(_site(layer, keep) for layer, keep in zip(LAYERS, COUNTS, strict=True)))},
)
