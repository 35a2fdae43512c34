"""VidCom2: of a film, the tokens least like its mean and their frame's; more of frames that stand out.

Source: Liu, Wang, Ma, Zhang, "Video Compression Commander: Plug-and-Play Inference Acceleration for Video Large
Language Models", arXiv 2505.14454.

Parameters: selector ``score`` on ``film_uniqueness`` before the language model, over the whole film, with a quota of
frames: in proportion to 1 + p - mean p, p being the softmax (temperature .01) of ``film_distance``. gamma = 0,
positions renumbered (kept, where they have several axes).

Deviations: the shares of the frames are rounded down and what is left goes to the largest, so that the count is one for
all films, where the original rounds each frame by itself (at least one token, at most all of them).

Published: 25 % and 15 % of the film's tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, positions_knob
from eos_platform.operators.designs.schedule import check_film, whole
from eos_platform.operators.spec import Quota, SiteSpec, Target


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    check_film(target)
    quota = Quota(kind="frames", share="softmax", feature="film_distance", temperature=knobs["temperature"])
    return (
        SiteSpec(
            layer=0,
            scope="film",
            keep=whole(tokens),
            score={"film_uniqueness": 1.0},
            quota=quota,
            positions=knobs["positions"],
        ),
    )


def _knobs(target: Target) -> tuple[Knob, ...]:
    return (Knob("temperature", 0.01, 0.001, 1.0, log=True), positions_knob("renumber"))


VIDCOM2 = Design(
    "vidcom2",
    "prune",
    "Liu et al., arXiv 2505.14454",
    "of a film, keeps what is unlike the rest",
    _make,
    _knobs,
    films=True,
)
