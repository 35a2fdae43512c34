"""The selector ``cover``: tokens that matter, and that are unlike each other.

Greedy: first the token of the best score, then always the one with the largest s_i + spread * log(distance to those
picked), distance being one minus the largest cosine. Spread 0 takes the best scores; a large one the farthest points.
Each pick costs one row of similarities, so that r picks of n tokens cost r n products, not n^2; only of wide tokens all
pairs are compared at once, which is next to nothing beside a wide model's own work, and much faster. The same values
order all tokens (a token's own never rises while others are picked), which is what the relaxed form thresholds.

Legend: b batch, n tokens, r picks, d width.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from eos_platform.operators.tokens import unit

NEAR = 1e-3  # distances below are all the same
FAR = math.log(2.0)  # log distance while nothing is picked
WIDE = 1024  # width above which all pairs are compared at once
TINY = 1e-12  # a token shorter than this is like no other


def products(tokens: Any, picks: Any, width: int) -> Any:
    """How many pairs of tokens are compared (whole numbers or tensors)."""
    return tokens * (tokens if width > WIDE else picks)


@torch.library.custom_op("eos_platform::cover", mutates_args=())
def _cover(x_bnd: Tensor, score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    """Picks in order (b, r), and log distances (b, n): when picked, or of the others at the end."""
    unit_bnd = unit(x_bnd)
    gap_bn = torch.full_like(score_bn, FAR)
    found_bn = torch.full_like(score_bn, FAR)
    taken_bn = torch.zeros_like(score_bn, dtype=torch.bool)
    order = []
    for _ in range(picks):  # as many rounds as picks is in the nature of the rule
        value_bn = (score_bn + spread * gap_bn).masked_fill(taken_bn, -torch.inf)
        pick_b1 = value_bn.argmax(-1, keepdim=True)  # the first of equals
        order.append(pick_b1)
        found_bn = found_bn.scatter(1, pick_b1, gap_bn.gather(1, pick_b1))
        taken_bn = taken_bn.scatter(1, pick_b1, True)
        picked_b1d = unit_bnd.take_along_dim(pick_b1[..., None], dim=1)
        cosine_bn = (unit_bnd @ picked_b1d.mT)[..., 0]
        gap_bn = torch.minimum(gap_bn, (1 - cosine_bn).clamp_min(NEAR).log())
    order_br = torch.cat(order, 1) if order else taken_bn.new_zeros(len(score_bn), 0, dtype=torch.long)
    return order_br, torch.where(taken_bn, found_bn, gap_bn)


@_cover.register_fake
def _(x_bnd: Tensor, score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    return score_bn.new_empty(len(score_bn), picks, dtype=torch.long), torch.empty_like(score_bn)


@_cover.register_kernel("cuda")
def _(x_bnd: Tensor, score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    from eos_platform.operators.cover_kernel import cover_by_pairs, cover_by_rows

    by = cover_by_pairs if x_bnd.shape[-1] > WIDE else cover_by_rows
    return by(x_bnd, score_bn, spread, picks)


@register_flop_formula(torch.ops.eos_platform.cover)
def _flops(x_shape: Any, score_shape: Any, spread_shape: Any, picks: int, **kwargs: Any) -> int:
    b, n, d = x_shape
    return int(2 * b * d * products(n, picks, d))


@torch.no_grad()
def cover(x_bnd: Tensor, score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    """Pick ``picks`` tokens, ties going to the lower index.

    Args:
        x_bnd: what the tokens are compared by.
        score_bn: how important each is; -inf: not there, picked last.
        spread: 0-dim, how much being unlike those picked counts.

    Returns:
        The picks in order (b, picks), and the log distance of each token (b, n): from those picked before it, or for
        those never picked from all picked.
    """
    score_bn = score_bn.to(torch.promote_types(x_bnd.dtype, torch.float32))
    order_br, gap_bn = _cover(x_bnd.contiguous(), score_bn.contiguous(), spread, min(picks, x_bnd.shape[1]))
    return order_br, gap_bn
