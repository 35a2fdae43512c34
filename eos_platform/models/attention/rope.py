"""Rotary position embeddings of the tokens present.

Legend: b batch, k tokens present, q some of them, h heads, e head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Rope(NamedTuple):
    """Cosines and sines, one row a token."""

    cos_bke: Tensor
    sin_bke: Tensor

    def at(self, place_bq: Tensor) -> Rope:
        """Those of some of the tokens."""
        index = place_bq[:, :, None].expand(-1, -1, self.cos_bke.shape[2])
        return Rope(self.cos_bke.gather(1, index), self.sin_bke.gather(1, index))


def own_positions(position: Tensor, valid_bk: Tensor) -> Tensor:
    """Positions from 0 at each prompt's first token present: a plain call counts the padding on the left, too.

    Args:
        position: of every token (b or 1, k), or with axes in front.
        valid_bk: not padding.
    """
    first_b1 = valid_bk.to(torch.uint8).argmax(1, keepdim=True)
    position = position.expand(*position.shape[:-2], *valid_bk.shape)
    return position - position.gather(-1, first_b1.expand(*position.shape[:-1], 1))


def rotate(x_bqhe: Tensor, rope: Rope) -> Tensor:
    """Queries or keys, turned by their positions."""
    first, second = x_bqhe.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return x_bqhe * rope.cos_bke[:, :, None] + turned * rope.sin_bke[:, :, None]
