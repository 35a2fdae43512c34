"""The selector ``cover``: tokens that matter, and that are unlike each other.

Greedy: first the token of the best score, then always the one with the largest s_i + spread * log(distance to those
picked), distance being one minus the largest cosine. Spread 0 takes the best scores; a large one the farthest points.
Each pick costs one row of similarities, so that r picks of n tokens cost r n products, never n^2. The same values
order all tokens (a token's own never rises while others are picked), which is what the relaxed form thresholds.

Legend: b batch, n tokens, r picks, d width.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

NEAR = 1e-3  # distances below are all the same
FAR = math.log(2.0)  # log distance while nothing is picked


@torch.library.custom_op("eos_platform::cover", mutates_args=())
def _cover(unit_bnd: Tensor, score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    """Picks in order (b, r), and log distances (b, n): when picked, or of the others at the end."""
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
def _(unit_bnd: Tensor, score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    return score_bn.new_empty(len(score_bn), picks, dtype=torch.long), torch.empty_like(score_bn)


@_cover.register_kernel("cuda")
def _(unit_bnd: Tensor, score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    from eos_platform.operators.cover_kernel import cover_on_gpu

    return cover_on_gpu(unit_bnd, score_bn, spread, picks)


@register_flop_formula(torch.ops.eos_platform.cover)
def _flops(unit_shape: Any, score_shape: Any, spread_shape: Any, picks: int, **kwargs: Any) -> int:
    b, n, d = unit_shape
    return int(2 * b * n * d * picks)


@torch.no_grad()
def cover(unit_bnd: Tensor, score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    """Pick ``picks`` tokens, ties going to the lower index.

    Args:
        unit_bnd: the tokens, of length 1, float32 or wider.
        score_bn: how important each is; -inf: not there, picked last.
        spread: 0-dim, how much being unlike those picked counts.

    Returns:
        The picks in order (b, picks), and the log distance of each token (b, n): from those picked before it, or for
        those never picked from all picked.
    """
    _, n, _ = unit_bnd.shape
    order_br, gap_bn = _cover(unit_bnd.contiguous(), score_bn.to(unit_bnd.dtype).contiguous(), spread, min(picks, n))
    return order_br, gap_bn
