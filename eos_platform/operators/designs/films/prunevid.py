"""PruneVid: scenes of a film; what stands still in one becomes one token, the rest clusters; then the question prunes.

Source: Huang, Zhou, Cheng, "PruneVid: Visual Token Pruning for Efficient Video Large Language Models", arXiv
2412.16117.

Parameters: selector ``segments`` before the language model: frames' mean tokens in a quarter as many clusters as there
are frames (5 nearest), cut where neighbours are of different ones; places whose mean cosine over all pairs of frames is
above .8 stand still and become one token each. The still tokens of a segment, and the moving ones of each frame, become
means of clusters, all sets by the same share. Before layer 10 of 32, 40 % stay by the attention that text pays them
(gamma = 0). Positions renumbered.

Deviations: the share of clusters is what the number of tokens asks for, the same for all films, where it is a half by
the authors, who leave sets of 14 tokens or fewer alone. Tokens prune by ``mean_text``, all together, where the original
takes the maximum over heads and text tokens and prunes set by set. Keys and values of earlier layers stay in the cache.
No noise breaks ties.

Published: a half, then 40 %; 17 % of the tokens on average.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, positions_knob
from eos_platform.operators.designs.films.segmented import segment_site, two_stages
from eos_platform.operators.designs.schedule import depth
from eos_platform.operators.spec import Segments, SiteSpec, Target

INSIDE, NEIGHBOURS = 10, 5


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    first, later = two_stages(target, tokens, depth(INSIDE, target), knobs["inside"])
    rule = Segments(cut="clusters", share=knobs["scenes"], still="mean", above=knobs["alike"], neighbours=NEIGHBOURS)
    return (
        segment_site(first, rule, knobs),
        *(
            SiteSpec(layer=layer, scope="film", keep=keep, score={"mean_text": 1.0}, positions=knobs["positions"])
            for layer, keep in later
        ),
    )


def _knobs(target: Target) -> tuple[Knob, ...]:
    return (
        Knob("scenes", 0.25, 0.05, 1.0),
        Knob("alike", 0.8, 0.3, 0.99),
        Knob("inside", 0.4, 0.1, 1.0),
        positions_knob("renumber"),
    )


PRUNEVID = Design(
    "prunevid",
    "hybrid",
    "Huang et al., arXiv 2412.16117",
    "of a film, clusters its scenes",
    _make,
    _knobs,
    films=True,
    coarse=True,  # what is pruned inside is pruned at every count
)
