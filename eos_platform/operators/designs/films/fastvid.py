"""FastVID: a film cut where it changes; of each frame its salient tokens, of every fourth centres that all others join.

Source: Shen, Gong, He, Zhang, Zhao, Han, Ding, "FastVID: Dynamic Density Pruning for Fast Video Large Language Models",
arXiv 2503.11187.

Parameters: selector ``segments`` before the language model: cut at the 7 least similar neighbouring frames and wherever
their cosine is below .9; 60 % of what stays by the attention it receives in the vision tower, the same number in each
frame; 40 % as centres (4 nearest) in one frame of four, counted from a segment's end, which every other token of the
segment that is not salient joins, once in each such frame: .6 of the centre and .4 of their mean. gamma = 1, positions
kept.

Deviations: salience is the attention received in the tower's last block, as there is no pooling head whose attention
could be asked; frames are compared by their mean tokens. Counts add up to one for all films: what is left by rounding
goes to centres first. Centres are shared out evenly over the frames of a segment that have some. No noise breaks ties.
Fewer tokens than there are frames cannot be asked for.

Published: shares of a film's tokens, .10 to .25; for Qwen2.5-VL cosines of .84.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.common.errors import EosError
from eos_platform.operators.designs.base import Design, Knob, positions_knob
from eos_platform.operators.designs.films.segmented import segment_site
from eos_platform.operators.designs.schedule import check_film, whole
from eos_platform.operators.spec import Segments, SiteSpec, Target

PARTS, EVERY, NEIGHBOURS = 8, 4, 4
SALIENCE = ("received", "vision", "film_uniqueness", "norm")


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    check_film(target)
    keep = whole(tokens)
    if keep < target.frames:
        raise EosError(f"keeps tokens of every frame: {tokens:g} tokens are fewer than the {target.frames} frames")
    rule = Segments(
        cut="gaps",
        parts=PARTS,
        alike=knobs["alike"],
        salient=knobs["salient"],
        every=EVERY,
        reach="segment",
        neighbours=NEIGHBOURS,
        own=knobs["own"],
    )
    return (segment_site(keep, rule, knobs),)


def _knobs(target: Target) -> tuple[Knob, ...]:
    return (
        Knob("salient", 0.6, 0.1, 0.95),
        Knob("alike", 0.9, 0.5, 1.0),
        Knob("own", 0.6, 0.0, 1.0),
        Knob("feature", "received", choices=SALIENCE),
        positions_knob("keep"),
    )


FASTVID = Design(
    "fastvid",
    "hybrid",
    "Shen et al., arXiv 2503.11187",
    "of a film, merges by segment",
    _make,
    _knobs,
    films=True,
    least=lambda target: target.frames,
)
