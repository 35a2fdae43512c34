"""Selector ``dpp``: relevant and unlike each other, by a determinantal point process (CDPruner, arXiv 2506.10967).

Legend: b batch, n tokens, e width of what they are compared by, t picked so far.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eos_platform.operators.tokens import gather_tokens, unit

SPENT = 1e-5  # a token of which less than this lies outside the span of those picked adds nothing but rounding


def dpp(compared_bne: Tensor, score_bn: Tensor, count: int) -> Tensor:
    """The ``count`` tokens picked (b, count), greedily, each the one that raises the determinant most.

    The kernel is diag(r) S diag(r), of cosines S and the score r brought to [0, 1] (ones where it does not vary). What
    a pick multiplies the determinant by is r_j^2 times what S leaves of j given those picked, kept up to date by an
    incremental Cholesky factorisation of S, which needs no rows of S but those of the picks. Once nothing is left of
    any, the lowest indices follow.
    """
    unit_bne = unit(compared_bne)
    low_b1, high_b1 = score_bn.amin(-1, keepdim=True), score_bn.amax(-1, keepdim=True)
    spread_b1 = high_b1 - low_b1
    relevance_bn = torch.where(spread_b1 > 0, (score_bn - low_b1) / torch.where(spread_b1 > 0, spread_b1, 1.0), 1.0)
    weight_bn = relevance_bn.to(unit_bne.dtype).square()
    left_bn = (unit_bne != 0).any(-1).to(unit_bne.dtype)  # the diagonal, 1 to the bit, so that equals tie
    free_bn = torch.ones_like(left_bn, dtype=torch.bool)
    factor_btn = left_bn.new_zeros(len(left_bn), count, left_bn.shape[1])
    picks: list[Tensor] = []
    for t in range(count):  # as many rounds as picks is in the nature of the rule
        gain_bn = torch.where(left_bn > SPENT, weight_bn * left_bn, 0.0)
        pick_b1 = gain_bn.masked_fill(~free_bn, -1.0).argmax(-1, keepdim=True)  # the first of equals
        picks.append(pick_b1)
        free_bn = free_bn.scatter(1, pick_b1, False)
        own_b1 = left_bn.gather(1, pick_b1)
        scale_b1 = torch.where(own_b1 > SPENT, own_b1, torch.inf).rsqrt()
        before_bt1 = factor_btn[:, :t].take_along_dim(pick_b1[:, None], 2)
        cosine_bn = (gather_tokens(unit_bne, pick_b1) @ unit_bne.mT)[:, 0]
        row_bn = cosine_bn - (before_bt1.mT @ factor_btn[:, :t])[:, 0]
        factor_btn[:, t] = row_bn * scale_b1
        left_bn = left_bn - factor_btn[:, t].square()
    return torch.cat(picks, 1)
