"""The selector ``diverse_topk``: tokens that matter, and that are unlike each other.

Greedy: first the token of the best score, then always the one with the largest s_i + spread * log(distance to those
picked), distance being one minus the largest cosine. Spread 0 takes the best scores; a large one the farthest points.
Each pick costs one row of similarities, so that r picks of n tokens cost r n products, not n^2; only of wide tokens all
pairs are compared at once, which is next to nothing beside a wide model's own work, and much faster (and what is merged
afterwards goes by the same similarities). The same values order all tokens (a token's own never rises while others are
picked), which is what the relaxed form thresholds.

Legend: b batch, n tokens, r picks, d width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from eos_platform.operators.selectors.log_distance import ABSENT, FAR, NEAR
from eos_platform.operators.tokens import cosine_of_all, unit

WIDE = 1024  # width above which all pairs are compared at once


def at_once(width: int) -> bool:
    """Whether tokens so wide are all compared at once."""
    return width > WIDE


@torch.library.custom_op("eos_platform::diverse_topk", mutates_args=())
def _by_rows(x_bnd: Tensor, score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    """Picks in order (b, r), and log distances (b, n): when picked, or of the others at the end."""
    unit_bnd = unit(x_bnd)

    def gap(pick_b1: Tensor) -> Tensor:
        picked_b1d = unit_bnd.take_along_dim(pick_b1[..., None], dim=1)
        return log_distance((unit_bnd @ picked_b1d.mT)[..., 0])

    return _greedy(gap, score_bn, spread, picks)


@torch.library.custom_op("eos_platform::greedy_select", mutates_args=())
def _greedy_select(gap_bnn: Tensor, score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    """The same, where the log distances of all pairs are known."""
    return _greedy(lambda pick_b1: gap_bnn.take_along_dim(pick_b1[..., None], dim=1)[:, 0], score_bn, spread, picks)


def _greedy(gap: Callable[[Tensor], Tensor], score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    """``gap``: log distances (b, n) of all tokens from one of each prompt (b, 1)."""
    score_bn = score_bn.clamp_min(ABSENT)
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
        gap_bn = torch.minimum(gap_bn, gap(pick_b1))
    order_br = torch.cat(order, 1) if order else taken_bn.new_zeros(len(score_bn), 0, dtype=torch.long)
    return order_br, torch.where(taken_bn, found_bn, gap_bn)


@_by_rows.register_fake
@_greedy_select.register_fake
def _(tokens: Tensor, score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    return score_bn.new_empty(len(score_bn), picks, dtype=torch.long), torch.empty_like(score_bn)


@_by_rows.register_kernel("cuda")
def _(x_bnd: Tensor, score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    from eos_platform.operators.selectors.diverse_topk_kernel import diverse_topk_by_rows

    return diverse_topk_by_rows(x_bnd, score_bn, spread, picks)


@_greedy_select.register_kernel("cuda")
def _(gap_bnn: Tensor, score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    from eos_platform.operators.selectors.diverse_topk_kernel import greedy_select

    return greedy_select(gap_bnn, score_bn, spread, picks)


@register_flop_formula(torch.ops.eos_platform.diverse_topk)
def _flops(x_shape: Any, score_shape: Any, spread_shape: Any, picks: int, **kwargs: Any) -> int:
    b, n, d = x_shape
    return int(2 * b * d * n * picks)


def log_distance(cosine: Tensor) -> Tensor:
    """Of tokens with these cosines."""
    return (1 - cosine).clamp_min_(NEAR).log_()


@torch.no_grad()
def diverse_topk(
    x_bnd: Tensor, score_bn: Tensor, spread: Tensor, picks: int, cosine_bnn: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Pick ``picks`` tokens, ties going to the lower index.

    Args:
        x_bnd: what the tokens are compared by.
        score_bn: how important each is; -inf: not there, picked last.
        spread: 0-dim, how much being unlike those picked counts.
        cosine_bnn: of all pairs, where they are known already.

    Returns:
        The picks in order (b, picks), and the log distance of each token (b, n): from those picked before it, or for
        those never picked from all picked.
    """
    score_bn = score_bn.to(torch.promote_types(x_bnd.dtype, torch.float32)).contiguous()
    picks = min(picks, x_bnd.shape[1])
    if cosine_bnn is None and at_once(x_bnd.shape[-1]):
        cosine_bnn = cosine_of_all(x_bnd)
    if cosine_bnn is not None:
        order_br, gap_bn = _greedy_select(log_distance(cosine_bnn), score_bn, spread, picks)
    else:
        order_br, gap_bn = _by_rows(x_bnd.contiguous(), score_bn, spread, picks)
    return order_br, gap_bn
