"""Selector ``max_sum``: the token least like all that are picked, taken together (ToDRE, arXiv 2505.18757).

Legend: b batch, n tokens, e width, c picks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eos_platform.operators.tokens import unit


@torch.no_grad()
def max_sum(compared_bne: Tensor, score_bn: Tensor, count: int) -> Tensor:
    """Picks in order (b, c): first the best score, then always the smallest sum of cosines to those picked; ties:
    lower index. As a sum of cosines is a cosine with a sum, each pick costs one row.

    Args:
        compared_bne: what tokens are compared by.
        score_bn: their score.
        count: at least 1.
    """
    unit_bne = unit(compared_bne)
    taken_bn = torch.zeros_like(score_bn, dtype=torch.bool)
    alike_bn = torch.zeros_like(unit_bne[..., 0])
    pick_b1 = score_bn.sort(dim=-1, descending=True, stable=True).indices[:, :1]
    order = [pick_b1]
    for _ in range(count - 1):  # as many rounds as picks is in the nature of the rule
        taken_bn = taken_bn.scatter(1, pick_b1, True)
        alike_bn = alike_bn + (unit_bne @ unit_bne.take_along_dim(pick_b1[..., None], 1).mT)[..., 0]
        pick_b1 = alike_bn.masked_fill(taken_bn, torch.inf).argmin(-1, keepdim=True)  # the first of equals
        order.append(pick_b1)
    return torch.cat(order, 1)
