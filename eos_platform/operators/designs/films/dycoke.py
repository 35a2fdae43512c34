"""DyCoke: of four frames of a film the first whole, of the others what differs most from an earlier one.

Source: Tao, Qin, You, Sui, Wang, "DyCoke: Dynamic Compression of Tokens for Fast Video Large Language Models", arXiv
2411.15024. The part before the language model; what it does while decoding saves no prefill.

Parameters: selector ``score`` on ``paired_change`` (frames 1, 3, .. against the one before, frames 2, 6, .. against two
before), with a quota of frames 1 : s : s : s, s as the count asks. gamma = 0, positions renumbered.

Deviations: order stays that of the film, where the original's is by similarity within a frame; a last frame of odd
number is not lost; the last frame 4j + 2 is cut as the others are. Fewer tokens than the whole frames have cannot be
asked for.

Published: s = .3, which is .475 of the film's tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.common.errors import EosError
from eos_platform.operators.designs.base import Design, Knob, positions_knob
from eos_platform.operators.designs.schedule import check_film, frame_tokens, whole
from eos_platform.operators.spec import Quota, SiteSpec, Target

CYCLE = 4  # frames, of which the first stays whole


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    one, keep = check_film(target), whole(tokens)
    kept_whole = _kept_whole(target)
    if keep < kept_whole * one:
        raise EosError(
            f"keeps every fourth frame whole: {tokens:g} tokens are fewer than the {kept_whole * one} of {kept_whole}"
        )
    share = (keep / one - kept_whole) / (target.frames - kept_whole)
    quota = Quota(kind="frames", share="listed", weights=(1.0, *[share] * (CYCLE - 1)))
    return (
        SiteSpec(
            layer=0,
            scope="film",
            keep=keep,
            score={"paired_change": 1.0},
            quota=quota,
            positions=knobs["positions"],
        ),
    )


def _kept_whole(target: Target) -> int:
    """Frames that stay whole."""
    return -(-target.frames // CYCLE)


def _knobs(target: Target) -> tuple[Knob, ...]:
    return (positions_knob("renumber"),)


DYCOKE = Design(
    "dycoke",
    "prune",
    "Tao et al., arXiv 2411.15024",
    "of a film, thins three frames of four",
    _make,
    _knobs,
    films=True,
    least=lambda target: _kept_whole(target) * frame_tokens(target),
)
