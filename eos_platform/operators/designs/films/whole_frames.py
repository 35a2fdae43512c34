"""Control: whole frames of a film, evenly over its length.

Source: none; a control.

Parameters: a quota of frames, all of those in the middles of equal parts of the film and none of the others. gamma = 0,
positions kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.common.errors import EosError
from eos_platform.operators.designs.base import Design, Knob, positions_knob
from eos_platform.operators.designs.schedule import check_film, frame_tokens, whole
from eos_platform.operators.spec import Quota, SiteSpec, Target


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    one = check_film(target)
    many = whole(tokens) // one
    if not many:
        raise EosError(f"keeps whole frames: {tokens:g} tokens are fewer than the {one} of one")
    chosen = {(2 * part + 1) * target.frames // (2 * many) for part in range(many)}
    weights = tuple(float(frame in chosen) for frame in range(target.frames))
    return (
        SiteSpec(
            layer=0,
            scope="film",
            keep=many * one,
            score={"norm": 1.0},  # orders tokens of a frame, all of which stay
            quota=Quota(kind="frames", share="listed", weights=weights),
            positions=knobs["positions"],
        ),
    )


def _knobs(target: Target) -> tuple[Knob, ...]:
    return (positions_knob("keep"),)


WHOLE_FRAMES = Design(
    "whole-frames",
    "prune",
    "control",
    "of a film, keeps whole frames, evenly",
    _make,
    _knobs,
    films=True,
    least=frame_tokens,
    coarse=True,
)
