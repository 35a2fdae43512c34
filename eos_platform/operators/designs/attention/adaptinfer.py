"""AdaptInfer: in three stages, keep what the text attends to, each text token weighing as much as text attends to it.

Source: "AdaptInfer: Adaptive Token Pruning for Vision-Language Model Inference with Dynamical Text Guidance", arXiv
2508.06084.

Parameters: sites before layers 2, 11 and 21 of 32, selector ``score`` on ``weighed_text`` (in every head, rows of
attention of all text tokens, weighed by the sums of the columns of A + A^T - diag A of attention among the text),
gamma = 0, positions renumbered.

Deviations: the original reduces what leaves layers 1, 10 and 20 by the attention of those layers; here the rows are
recomputed with the projections of the layer the site stands before. Counts for other means lie on straight lines
between the published lists, from none to all; where no count can reach a mean, all sites move earlier, no further than
needed.

Published: the lists for 128, 64, 48 and 32; what enters the layers is a mean of 146.3, 82.9, 66.5 and 51.0, as the
authors count what leaves them. The last list leaves none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import LLAVA, Design, Knob, as_published, positions_knob
from eos_platform.operators.designs.schedule import between, depth, stages
from eos_platform.operators.spec import SiteSpec, Target

LAYERS = (2, 11, 21)
LISTS = {128: (290, 72, 18), 64: (133, 27, 3), 48: (80, 24, 2), 32: (40, 12, 0)}


def _site(layer: int, keep: int, positions: str = "renumber") -> SiteSpec:
    if keep == 0:
        return SiteSpec(layer=layer, keep=0, selector="drop_all")
    return SiteSpec(layer=layer, keep=keep, score={"weighed_text": 1.0}, positions=positions)  # type: ignore[arg-type]


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    sites, before = list[SiteSpec](), target.tokens
    layers = [depth(layer, target, knobs["scale"]) for layer in LAYERS]
    for layer, keep in stages(target, tokens, layers, between([LISTS[n] for n in (32, 48, 64, 128)], LLAVA.tokens)):
        if keep < before:
            sites.append(_site(layer, keep, knobs["positions"]))
            before = keep
    return tuple(sites)


ADAPTINFER = Design(
    "adaptinfer",
    "prune",
    "arXiv 2508.06084",
    "prunes by text weighed by text, in stages",
    _make,
    lambda target: (Knob("scale", 1.0, 0.25, 1.5), positions_knob("renumber")),
    {nominal: as_published("adaptinfer", nominal, *map(_site, LAYERS, counts)) for nominal, counts in LISTS.items()},
)
