"""SparseVLM 1.5 and 2: in three stages, keep what the text tokens that look at the picture attend to.

Source: Zhang, Fan, Ma, Zheng, Huang, Cheng, Gudovskiy, Okuno, Nakata, Keutzer, Zhang, "SparseVLM: Visual Token
Sparsification for Efficient Vision-Language Model Inference", arXiv 2410.04417; versions 1.5 and 2 of its code.

Parameters of ``sparsevlm`` (1.5): sites before layers 3, 7 and 16 of 32. The best by ``raters`` stay (``important``);
selector ``density`` picks centres among the best 30 % of the rest (one for every ten), to which the others of those
30 % go (gamma = 1, tau = 0, nu = 1, to destinations, metric distance). Positions renumbered.
Of ``sparsevlm-v2``: the same stages, selector ``score`` on ``corrected``, gamma = 0, positions kept.

Deviations: the original reduces what leaves layers 2, 6 and 15 by the attention of those layers; here the rows are
recomputed with the projections of the layer the site stands before. A cluster's mean is weighted by sizes (tokens
recycled before count for what they stand for); its token stands at its centre's place instead of after all others; no
noise in the densities. Counts for other means lie on straight lines between the published lists, from none to all
(the first of 1.5's list for 128 lowered from 312 to 309, so that no stage loses tokens as the mean grows); where no
count can reach a mean, all sites move earlier, no further than needed.

Published: their lists; what enters the layers is a mean of 206.5, 145.4 and 82.2 (1.5), 206.8, 144.1 and 81.8 (2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eos_platform.operators.designs.base import LLAVA, Design, Knob, as_published, positions_knob
from eos_platform.operators.designs.schedule import between, depth, stages
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target, Transfer

LAYERS = (3, 7, 16)
SHARE, CLUSTER = 0.3, 10
KEPT = {192: (300, 200, 110), 128: (303, 110, 36), 96: (238, 48, 26), 64: (66, 30, 17)}  # recycled tokens come on top
TOTAL = ((82, 32, 18), (309, 117, 39), (309, 204, 113))  # those of 64, 128 and 192 with recycled tokens
KEPT_V2 = {192: (300, 200, 118), 128: (238, 108, 60), 96: (246, 54, 28), 64: (66, 34, 20)}


def centres(dropped: int, share: float, cluster: int) -> int:
    """How many tokens are made of those dropped."""
    return min(int(share * dropped) + 1, dropped) // cluster + 1


def recycling(layer: int, kept: int, made: int, positions: str, share: float = SHARE) -> SiteSpec:
    """A stage of 1.5: ``kept`` stay, ``made`` more are made of the best of the rest."""
    clusters = Transfer(gamma=1.0, tau=0.0, nu=1.0, to="destinations", among=share, metric="distance")
    return SiteSpec(
        layer=layer,
        keep=kept + made,
        selector="density",
        important=kept,
        score={"raters": 1.0},
        transfer=clusters,
        positions=positions,  # type: ignore[arg-type]
    )


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    sites, before = [], target.tokens
    share, cluster = knobs["recycle"], knobs["cluster"]
    for layer, left in stages(target, tokens, _layers(target, knobs), between(TOTAL, LLAVA.tokens)):
        if left < before:
            fits = (k for k in range(left, -1, -1) if k + centres(before - k, share, cluster) <= left)
            kept = next(fits, 0)  # where even its centres are too many, fewer centres and nothing else
            sites.append(recycling(layer, kept, left - kept, knobs["positions"], share))
            before = left
    return tuple(sites)


def _make_v2(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    lists = between([KEPT_V2[nominal] for nominal in (64, 128, 192)], LLAVA.tokens)
    counts = stages(target, tokens, _layers(target, knobs), lists)
    return tuple(
        SiteSpec(layer=layer, keep=left, score={"corrected": 1.0}, positions=knobs["positions"])
        for (layer, left), (_, before) in zip(counts, ((0, target.tokens), *counts), strict=False)
        if left < before
    )


def _layers(target: Target, knobs: Mapping[str, Any]) -> Sequence[int]:
    return [depth(layer, target, knobs["scale"]) for layer in LAYERS]


def _scale() -> Knob:
    return Knob("scale", 1.0, 0.25, 1.5)  # of the layers' depths


def _knobs(target: Target) -> tuple[Knob, ...]:
    return (
        _scale(),
        Knob("recycle", SHARE, 0.05, 1.0, log=True),
        Knob("cluster", CLUSTER, 3, 30, log=True),
        positions_knob("renumber"),
    )


def _published(nominal: int) -> Callable[[], OperatorSpec]:
    sites, before = [], LLAVA.tokens
    for layer, kept in zip(LAYERS, KEPT[nominal], strict=True):
        sites.append(recycling(layer, kept, centres(before - kept, SHARE, CLUSTER), "renumber"))
        before = sites[-1].keep
    return as_published("sparsevlm", nominal, *sites)


def _published_v2(nominal: int) -> Callable[[], OperatorSpec]:
    counts = zip(LAYERS, KEPT_V2[nominal], strict=True)
    sites = (SiteSpec(layer=layer, keep=kept, score={"corrected": 1.0}) for layer, kept in counts)
    return as_published("sparsevlm-v2", nominal, *sites)


SPARSEVLM = Design(
    "sparsevlm",
    "hybrid",
    "Zhang et al., arXiv 2410.04417",
    "prunes by rating text, recycles, in stages",
    _make,
    _knobs,
    {nominal: _published(nominal) for nominal in KEPT},
)

SPARSEVLM_V2 = Design(
    "sparsevlm-v2",
    "prune",
    "Zhang et al., arXiv 2410.04417",
    "prunes by corrected attention, in stages",
    _make_v2,
    lambda target: (_scale(), positions_knob("keep")),
    {nominal: _published_v2(nominal) for nominal in KEPT_V2},
)
