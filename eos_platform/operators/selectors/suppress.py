"""Selector ``suppress``: what is too like a better token that stays is left to the last.

The greedy independent set of a graph of similar tokens, best score first (D2Pruner, arXiv 2512.19443), within groups
where there are some (PruneSID, arXiv 2603.09480). Which tokens nobody bars does not depend on how many are to stay, so
one order serves every count.

Legend: b batch, n tokens, e width, g groups.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eos_platform.operators.rules import Suppression
from eos_platform.operators.tokens import unit


@torch.no_grad()
def survivors(
    rule: Suppression,
    compared_bne: Tensor,
    score_bn: Tensor,
    rounds: int,
    present_bn: Tensor | None = None,
    group_bn: Tensor | None = None,
) -> Tensor:
    """Which tokens nobody bars (b, n), bool: the best ``rounds`` of them are found for certain.

    Args:
        rule: how alike is too alike.
        compared_bne: what tokens are compared by.
        score_bn: of two that are too alike, the better one bars; ties: lower index.
        rounds: of picking.
        present_bn: bool, which tokens are there at all; others bar nobody and do not survive.
        group_bn: only tokens of one group bar each other; None: any.
    """
    b, n, _ = compared_bne.shape
    unit_bne = unit(compared_bne)
    cosine_bnn = unit_bne @ unit_bne.mT
    free_bn = torch.ones(b, n, dtype=torch.bool, device=score_bn.device) if present_bn is None else present_bn
    theta: float | Tensor = rule.theta
    if rule.relative:
        theta = rule.theta * _mean_of_pairs(cosine_bnn, free_bn)[:, None, None]
    bars_bnn = cosine_bnn > theta
    if group_bn is not None:
        bars_bnn = bars_bnn & (group_bn[:, :, None] == group_bn[:, None])
    place_bn = torch.arange(n, device=score_bn.device).expand(b, n)
    order_bn = score_bn.sort(dim=-1, descending=True, stable=True).indices
    rank_bn = torch.empty_like(order_bn).scatter(1, order_bn, place_bn)
    survives_bn = torch.zeros_like(free_bn)
    for _ in range(rounds):  # as many rounds as picks is in the nature of the rule
        pick_b1 = rank_bn.masked_fill(~free_bn, n).argmin(-1, keepdim=True)
        there_b1 = free_bn.gather(1, pick_b1)  # once none is left, the first place comes up again
        survives_bn = survives_bn.scatter(1, pick_b1, there_b1 | survives_bn.gather(1, pick_b1))
        barred_bn = bars_bnn.take_along_dim(pick_b1[..., None], dim=1)[:, 0] & there_b1
        free_bn = (free_bn & ~barred_bn).scatter(1, pick_b1, False)
    return survives_bn


def suppressed_order(survives_bn: Tensor, score_bn: Tensor) -> Tensor:
    """A value (b, n) by which tokens stand in line: those that survive, then the others, best score first; the lower
    index among equals. Whole numbers."""
    b, n = score_bn.shape
    order_bn = score_bn.sort(dim=-1, descending=True, stable=True).indices
    place_bn = torch.arange(n, device=score_bn.device).expand(b, n)
    rank_bn = torch.empty_like(order_bn).scatter(1, order_bn, place_bn)
    return (n * survives_bn.long() + n - 1 - rank_bn).to(score_bn.dtype)


def _mean_of_pairs(cosine_bnn: Tensor, there_bn: Tensor) -> Tensor:
    """Mean cosine of all pairs of different tokens that are there (b,); 0 where there is no pair."""
    pair_bnn = there_bn[:, :, None] & there_bn[:, None]
    pair_bnn = pair_bnn & ~torch.eye(cosine_bnn.shape[1], dtype=torch.bool, device=cosine_bnn.device)
    return (cosine_bnn * pair_bnn).sum((1, 2)) / pair_bnn.sum((1, 2)).clamp_min(1)
