"""PyramidDrop: every quarter of the depth, discard the same fraction of what is left.

Source: Xing, Huang, Dong, Lu, Zhang, Zang, Cao, He, Wang, Wu, Lin, "PyramidDrop: Accelerating Your Large
Vision-Language Models via Pyramid Visual Redundancy Reduction", arXiv 2410.17247.

Parameters: sites before layers 8, 16 and 24 of 32, selector ``score`` on ``last_text`` (which is recomputed with the
projections of the layer the site stands before, as in the original), gamma = 0, positions renumbered. The fraction
kept follows from the mean asked for (a half, by the authors). Where it would be below a quarter, the sites stand
before layers 2, 6 and 16 instead, with counts on straight lines from none through the lists for 64 and 128 to all:
what other authors do for means that the authors' own layers cannot reach. Below what these can reach all sites move
earlier, no further than needed.

Deviations: none in how tokens are reduced.

Published: 270 is the authors' (half, three times). The lists for 192, 128 and 64 are of other authors, matched to means
of 191, 126 and 62.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eos_platform.operators.designs.base import LLAVA, Design, Knob, as_published, positions_knob
from eos_platform.operators.designs.schedule import between, depth, mean_of, stages
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target

LAYERS, EARLIER = (8, 16, 24), (2, 6, 16)


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    layers = _depths(LAYERS, target, knobs)
    kept: Callable[[float], Sequence[float]] = _powers
    quarter = [max(1, int(part * target.tokens)) for part in _powers(0.25)]
    if tokens < mean_of(target, tuple(zip(layers, quarter, strict=True))):
        layers = _depths(EARLIER, target, knobs)
        kept = between([_PUBLISHED[nominal][1] for nominal in (64, 128)], LLAVA.tokens)
    sites, before = [], target.tokens
    for layer, keep in stages(target, tokens, layers, kept):
        if keep < before:
            sites.append(SiteSpec(layer=layer, keep=keep, score={"last_text": 1.0}, positions=knobs["positions"]))
            before = keep
    return tuple(sites)


def _powers(kept: float) -> Sequence[float]:
    return [kept, kept**2, kept**3]


def _depths(layers: Sequence[int], target: Target, knobs: Mapping[str, Any]) -> Sequence[int]:
    return [depth(layer, target, knobs["scale"]) for layer in layers]


def _knobs(target: Target) -> tuple[Knob, ...]:
    return (
        Knob("scale", 1.0, 0.1, 1.25, log=True),  # of the layers' depths
        positions_knob("renumber"),
    )


_OTHERS = "other authors"
_PUBLISHED = {
    270: ((8, 16, 24), (288, 144, 72), ""),
    192: ((8, 16, 24), (143, 36, 9), _OTHERS),
    128: ((2, 6, 16), (303, 110, 36), _OTHERS),
    64: ((2, 6, 16), (66, 30, 17), _OTHERS),
}


def _published(nominal: int) -> Callable[[], OperatorSpec]:
    layers, counts, note = _PUBLISHED[nominal]
    sites = (
        SiteSpec(layer=layer, keep=keep, score={"last_text": 1.0}, positions="renumber")
        for layer, keep in zip(layers, counts, strict=True)
    )
    return as_published("pyramiddrop", nominal, *sites, note=note)


PYRAMIDDROP = Design(
    "pyramiddrop",
    "prune",
    "Xing et al., arXiv 2410.17247",
    "prunes by the last text token, in stages",
    _make,
    _knobs,
    {nominal: _published(nominal) for nominal in _PUBLISHED},
)
