"""EVS: of a film, the places that changed most since the frame before; the first frame whole.

Source: Bagrov, Khvedchenia, Hymel et al., "Efficient Video Sampling: Pruning Temporally Redundant Tokens for Faster VLM
Inference", arXiv 2510.14624; what vLLM's ``--video-pruning-rate`` does.

Parameters: selector ``score`` on ``change`` before the language model, over the whole film. gamma = 0, positions kept.

Deviations: none that is known. Fewer tokens than a frame has cannot be asked for, as the first is always kept whole.

Published: no counts, but a share of the film's tokens that goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, positions_knob
from eos_platform.operators.designs.schedule import first_frame_whole, frame_tokens
from eos_platform.operators.spec import SiteSpec, Target


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    keep = first_frame_whole(target, tokens)
    return (SiteSpec(layer=0, scope="film", keep=keep, score={"change": 1.0}, positions=knobs["positions"]),)


def _knobs(target: Target) -> tuple[Knob, ...]:
    return (positions_knob("keep"),)


EVS = Design(
    "evs",
    "prune",
    "Bagrov et al., arXiv 2510.14624",
    "of a film, keeps what changed",
    _make,
    _knobs,
    films=True,
    least=frame_tokens,
)
