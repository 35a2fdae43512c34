"""FastV: after a couple of layers, discard the visual tokens the last text token attends to least.

Source: Chen, Zhao, Liu, Yan, Zhang, Lin, Zhou, Chang, "An Image is Worth 1/2 Tokens After Layer 2", arXiv 2403.06764.

Parameters: selector ``score`` on ``last_text`` alone, gamma = 0, positions kept, one site before layer 2 of 32 (the
same depth in other models, never before layer 1).

Deviations: the original ranks by the attention map of layer K - 1; here the one query row is recomputed with the
projections of layer K from the tokens that enter it (in shallow models 8 points of accuracy more than the published
rule). The knob ``attention``, ``previous``, ranks as the original does, by the row of layer K - 1. Means that no
count can reach at that depth (the layers before see every token) are met by acting earlier, no further than needed.

Published: the authors name no counts but K and a ratio: means of 306 (K = 2, half discarded), 315 (K = 3, half) and
171 (K = 2, three quarters). The counts for 192, 128 and 64 are those other authors match these means with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, as_published, positions_knob
from eos_platform.operators.designs.schedule import depth, one_stage
from eos_platform.operators.spec import SiteSpec, Target


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    layer, keep = one_stage(target, tokens, knobs["layer"])
    feature = "previous_text" if knobs["attention"] == "previous" and layer else "last_text"
    return (SiteSpec(layer=layer, keep=keep, score={feature: 1.0}, positions=knobs["positions"]),)


def _knobs(target: Target) -> tuple[Knob, ...]:
    own = depth(2, target)
    attention = Knob("attention", "own", choices=("own", "previous"))
    return (Knob("layer", own, 0, max(own, target.layers // 2)), attention, positions_knob("keep"))


_OTHERS = "other authors"
_PUBLISHED = {
    315: (3, 288, ""),
    306: (2, 288, ""),
    171: (2, 144, ""),
    192: (2, 165, _OTHERS),
    128: (2, 96, _OTHERS),
    64: (2, 28, _OTHERS),
}

FASTV = Design(
    "fastv",
    "prune",
    "Chen et al., arXiv 2403.06764",
    "keeps what the last text token attends to",
    _make,
    _knobs,
    {
        nominal: as_published("fastv", nominal, SiteSpec(layer=layer, keep=keep, score={"last_text": 1.0}), note=note)
        for nominal, (layer, keep, note) in _PUBLISHED.items()
    },
)
