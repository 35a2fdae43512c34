"""Rotary position embeddings of the tokens present.

Legend: b batch, k tokens present, q some of them, h heads, e head width.
"""

from __future__ import annotations

from collections.abc import Callable
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


Turn = Callable[[Tensor, Rope], Tensor]  # queries or keys (b, q, h, e), turned by their positions


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
    """Queries or keys, turned by their positions; where embeddings are narrower than heads, the rest stays as it is."""
    width = rope.cos_bke.shape[-1]
    if width < x_bqhe.shape[-1]:
        return torch.cat((rotate(x_bqhe[..., :width], rope), x_bqhe[..., width:]), -1)
    first, second = x_bqhe.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return x_bqhe * rope.cos_bke[:, :, None] + turned * rope.sin_bke[:, :, None]


def rotate_pairs(x_bqhe: Tensor, rope: Rope) -> Tensor:
    """The same of models whose neighbouring dimensions, not those half a head apart, turn together (Cohere, GLM)."""
    width = rope.cos_bke.shape[-1]
    if width < x_bqhe.shape[-1]:
        return torch.cat((rotate_pairs(x_bqhe[..., :width], rope), x_bqhe[..., width:]), -1)
    turned = torch.stack((-x_bqhe[..., 1::2], x_bqhe[..., ::2]), dim=-1).flatten(-2)
    return (x_bqhe.float() * rope.cos_bke[:, :, None] + turned.float() * rope.sin_bke[:, :, None]).to(x_bqhe.dtype)


def unturned(x_bqhe: Tensor, rope: Rope) -> Tensor:
    """The same of layers that know no positions."""
    return x_bqhe


def soft_rope(rotary: Any, x_bsd: Tensor, position_bs: Tensor, *kind: str, paired: bool = False) -> Rope:
    """Rotary embeddings at positions that need not be whole numbers, differentiable in them.

    Args:
        rotary: the model's own module, which runs without gradient.
        x_bsd: hidden states, for their dtype.
        position_bs: positions.
        kind: of attention, where the module asks for it.
        paired: neighbouring dimensions turn together (``rotate_pairs``).
    """
    with torch.no_grad():
        cos_bse, sin_bse = moved(tuple(rotary(x_bsd, position_bs, *kind)), x_bsd.device)
    if not position_bs.requires_grad:
        return Rope(cos_bse, sin_bse)
    # zero in value; its slope times that of cos and sin is the gradient the module withheld
    frequency_e = getattr(rotary, "_".join((*kind, "inv_freq"))).to(x_bsd.device).float()
    slope_bse = (position_bs - position_bs.detach())[:, :, None] * frequency_e
    slope_bse = slope_bse.repeat_interleave(2, -1) if paired else slope_bse.repeat(1, 1, 2)
    slope_bse = slope_bse.to(cos_bse.dtype)
    return Rope(cos_bse - sin_bse * slope_bse, sin_bse + cos_bse * slope_bse)
