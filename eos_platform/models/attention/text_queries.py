"""Text tokens that speak for the question: which rate visual tokens, how they rate, which are pivots.

Legend: b batch, n visual tokens, t other tokens, p pivots, d width, h heads, e head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eos_platform.models.attention.rope import Rope, Turn, rotate
from eos_platform.operators.tokens import at_least_float32, unit

PIVOTS = 4  # text tokens that are pivots
LOUDEST = 7 / 16  # share of the heads that ``without_decay`` listens to
LEAST = 1e-3  # what is divided by is never less


def choose_raters(visual_bnd: Tensor, text_btd: Tensor, asks_bt: Tensor, counted_bn: Tensor | None = None) -> Tensor:
    """Which text tokens rate the visual ones (b, t), bool (SparseVLM, arXiv 2410.04417).

    Those that visual tokens, by the products of their input embeddings, point at more than at the text on average; all
    that may ask where none stands out.

    Args:
        visual_bnd, text_btd: what enters the language model.
        asks_bt: which of the text may ask.
        counted_bn: bool, which of ``visual_bnd`` are visual tokens at all; default: every one.
    """
    logits_bnt = at_least_float32(visual_bnd) @ at_least_float32(text_btd).mT
    share_bnt = logits_bnt.masked_fill(~asks_bt[:, None], torch.finfo(logits_bnt.dtype).min).softmax(-1)
    if counted_bn is None:
        value_bt = share_bnt.mean(1)
    else:
        weight_bn = counted_bn / counted_bn.sum(1, keepdim=True).clamp(min=1)
        value_bt = torch.einsum("bn,bnt->bt", weight_bn.to(share_bnt.dtype), share_bnt)
    # every row of shares sums to 1
    rater_bt = asks_bt & (value_bt > 1 / asks_bt.sum(1, keepdim=True).clamp(min=1))
    return torch.where(rater_bt.any(1, keepdim=True), rater_bt, asks_bt)


def relevance(visual_bnd: Tensor, text_btd: Tensor, asks_bt: Tensor) -> Tensor:
    """Mean cosine of each visual token to the text that may ask (b, n), of what enters the language model."""
    return torch.einsum("bnd,bd->bn", unit(visual_bnd), question(text_btd, asks_bt)).float()


def question(text_btd: Tensor, asks_bt: Tensor) -> Tensor:
    """Mean direction of the text that may ask (b, d): what a prompt is about, as far as its words tell."""
    weight_bt = asks_bt / asks_bt.sum(1, keepdim=True).clamp(min=1)
    return torch.einsum("bt,btd->bd", weight_bt.to(at_least_float32(text_btd).dtype), unit(text_btd))


def mean_rows(row_btn: Tensor, asks_bt: Tensor) -> Tensor:
    """Mean of the rows of those who ask (b, n)."""
    weight_bt = asks_bt / asks_bt.sum(1, keepdim=True).clamp(min=1)
    return torch.einsum("bt,btn->bn", weight_bt.float(), row_btn)


def weighed_rows(row_bhtn: Tensor, own_bhtt: Tensor, asks_bt: Tensor) -> Tensor:
    """Sum over heads of the rows of those who ask, each weighed by how much text attends to it, and it to text (b, n;
    AdaptInfer, arXiv 2508.06084): the sums of the columns of A + A^T - diag A, A being attention among the text.

    Args:
        row_bhtn: attention of the text to the visual tokens.
        own_bhtt: to itself.
        asks_bt: which of the text may ask; the others neither weigh nor are weighed.
    """
    asks_b1tt = (asks_bt[:, :, None] & asks_bt[:, None])[:, None]
    own_bhtt = own_bhtt * asks_b1tt
    weight_bht = own_bhtt.sum(2) + own_bhtt.sum(3) - own_bhtt.diagonal(dim1=2, dim2=3)
    return torch.einsum("bht,bhtn->bn", weight_bht, row_bhtn)


def without_decay(
    row_bhtn: Tensor, text_rope: Rope, visual_rope: Rope, rater_bt: Tensor, turn: Turn = rotate
) -> Tensor:
    """Mean attention of the raters (b, n), freed of what rotary embeddings take from far tokens, in the loudest heads.

    Each weight is divided by what distance alone leaves of the product of two vectors of ones, and the heads with the
    largest totals are averaged (SparseVLM's second version).

    Args:
        row_bhtn: attention of the text to the visual tokens.
        text_rope, visual_rope: rotary embeddings at their positions, float32.
        rater_bt: who rates.
        turn: the layer's own way of turning queries and keys.
    """
    width = text_rope.cos_bke.shape[-1]
    left_btn = _turned_ones(text_rope, turn) @ _turned_ones(visual_rope, turn).mT / width**0.5
    weight_bt = rater_bt / rater_bt.sum(1, keepdim=True).clamp(min=1)
    weight_btn = weight_bt[..., None] / left_btn.clamp_min(LEAST)
    rated_bhn = torch.einsum("bhtn,btn->bhn", row_bhtn, weight_btn)
    heads = max(1, round(LOUDEST * rated_bhn.shape[1]))
    loudest_bh = rated_bhn.sum(-1).sort(dim=-1, descending=True, stable=True).indices[:, :heads]
    return rated_bhn.gather(1, loudest_bh[..., None].expand(-1, -1, rated_bhn.shape[2])).mean(1)


def _turned_ones(rope: Rope, turn: Turn) -> Tensor:
    """A vector of ones at each position (b, k, e)."""
    return turn(torch.ones_like(rope.cos_bke)[:, :, None], rope)[:, :, 0]


def pivot_places(norm_bt: Tensor, asks_bt: Tensor, other_bt: Tensor) -> Tensor:
    """Places (b, p) of the text tokens that may ask with the largest norms; again from the first where they run out."""
    order_bt = norm_bt.masked_fill(~asks_bt, -1.0).sort(dim=-1, descending=True, stable=True).indices
    rank_bp = torch.arange(PIVOTS, device=norm_bt.device) % asks_bt.sum(1, keepdim=True).clamp(min=1)
    return other_bt.gather(1, order_bt.gather(1, rank_bp))
