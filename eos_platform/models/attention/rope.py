"""Rotary position embeddings of the tokens present.

Legend: b batch, k tokens present, q some of them, h heads, e head width.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from eos_platform.models.loading.devices import moved


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


def soft_rope(rotary: Any, x_bsd: Tensor, position_bs: Tensor, *kind: str) -> Rope:
    """Rotary embeddings at positions that need not be whole numbers, differentiable in them.

    Args:
        rotary: the model's own module, which runs without gradient.
        x_bsd: hidden states, for their dtype.
        position_bs: positions.
        kind: of attention, where the module asks for it.
    """
    with torch.no_grad():
        cos_bse, sin_bse = moved(tuple(rotary(x_bsd, position_bs, *kind)), x_bsd.device)
    if not position_bs.requires_grad:
        return Rope(cos_bse, sin_bse)
    # zero in value; its slope times that of cos and sin is the gradient the module withheld
    frequency_e = getattr(rotary, "_".join((*kind, "inv_freq"))).to(x_bsd.device).float()
    slope_bse = ((position_bs - position_bs.detach())[:, :, None] * frequency_e).repeat(1, 1, 2)
    slope_bse = slope_bse.to(cos_bse.dtype)
    return Rope(cos_bse - sin_bse * slope_bse, sin_bse + cos_bse * slope_bse)
