"""FrameFusion, at one site: tokens that changed least since the frame before join the one they continue.

Source: Fu, Liu, Han, Dai, Yan, Yang, Ning, Wang, "FrameFusion: Combining Similarity and Importance for Video Token
Reduction on Large Vision Language Models", arXiv 2501.01986.

Parameters: selector ``score`` on ``change`` before the language model, over the whole film; what goes is averaged into
the latest token kept at its place (support ``tube``, gamma = 1, tau = 0, nu = 1), which is the first of its run.
Positions kept.

Deviations: how many are merged is a count, where the original merges all that are more alike than .6, before the first
layer and after the attention of later ones, and then prunes once by the attention of the last text token. Fewer tokens
than a frame has cannot be asked for.

Published: no counts, but a mean share of .3 over the layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, positions_knob
from eos_platform.operators.designs.schedule import first_frame_whole, frame_tokens
from eos_platform.operators.spec import SiteSpec, Support, Target, Transfer


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    return (
        SiteSpec(
            layer=0,
            scope="film",
            keep=first_frame_whole(target, tokens),
            score={"change": 1.0},
            transfer=Transfer(gamma=1.0, tau=0.0, nu=1.0, support=Support(kind="tube")),
            positions=knobs["positions"],
        ),
    )


def _knobs(target: Target) -> tuple[Knob, ...]:
    return (positions_knob("keep"),)


FRAMEFUSION = Design(
    "framefusion",
    "merge",
    "Fu et al., arXiv 2501.01986",
    "of a film, merges what did not change",
    _make,
    _knobs,
    films=True,
    least=frame_tokens,
)
