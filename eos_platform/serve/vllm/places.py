"""Positions of prompts whose pictures have fewer tokens than positions.

What follows a picture is known from the start; where its own tokens stand, once it was seen. Until then, they are at
its first position. vLLM counts positions in three rows, which are the same where a model has one axis.
Legend: s tokens of a prompt as shrunk, r tokens of pictures, a axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

ROWS = 3


class Span(NamedTuple):
    """A picture in a prompt."""

    offset: int  # of its first token
    length: int  # tokens
    extent: int  # positions it takes up


def begun(length: int, spans: Sequence[Span]) -> tuple[Tensor, int]:
    """Positions (3, s) of a prompt before its pictures were seen, and how far later ones are ahead of their count.

    Args:
        length: tokens of the prompt.
        spans: its pictures, in order.
    """
    step_s = torch.ones(length, dtype=torch.long)
    for span in spans:
        step_s[span.offset : span.offset + span.length] = 0
        step_s[span.offset + span.length - 1] = span.extent
    place_s = step_s.cumsum(0) - step_s
    return place_s.expand(ROWS, -1).clone(), int(step_s.sum()) - length


def noted(length: int, spans: Sequence[Span]) -> tuple[Tensor, int]:
    """As ``begun``, for families of one axis, which read the first row alone: the others are for notes.

    Returns:
        (3, s): positions; the first position of the picture that a token is of; the one behind that picture. Of a token
        of text, its own and the next one.
    """
    place_3s, delta = begun(length, spans)
    place_3s[2] += 1
    for span in spans:
        place_3s[2, span.offset : span.offset + span.length] += span.extent - 1
    return place_3s, delta


def seen(position_3s: Tensor, base_s: Tensor, where_r: Tensor, place_ra: Tensor) -> Tensor:
    """Positions with those of tokens that were seen.

    Args:
        position_3s: of the prompt.
        base_s: the first position of the picture that each token is of.
        where_r: which tokens were seen.
        place_ra: where they stand, from that position on.
    """
    position_3s = position_3s.clone()
    made_r3 = base_s[where_r][:, None] + place_ra.long().expand(-1, ROWS)
    position_3s[:, where_r] = made_r3.mT.to(position_3s)
    return position_3s


def bases(position_3s: Tensor, visual_s: Tensor) -> Tensor:
    """The first position of the picture that each visual token is of (s,): one more than the last of the text before.

    Pictures have text between them here, as every one stands in a frame of its own.
    """
    s = len(visual_s)
    index_s = torch.arange(s)
    before_s = torch.where(visual_s, -1, index_s).cummax(0).values  # the last token that is not visual
    last_s = position_3s[0].cpu()[before_s.clamp(min=0)] + 1
    return torch.where(before_s >= 0, last_s, 0)
