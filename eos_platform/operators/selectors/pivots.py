"""Selector ``pivots``: a few tokens of high score, then those unlike them and unlike text (DART, arXiv 2502.11494).

Legend: b batch, n tokens, d width, p text tokens, v all pivots.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eos_platform.operators.tokens import gather_tokens, unit

VISUAL = 4  # pivots among the visual tokens


def pivots(x_bnd: Tensor, score_bn: Tensor, text_bpd: Tensor, count: int) -> Tensor:
    """The ``count`` tokens picked (b, count): the visual pivots, then those each pivot took in its turn.

    Args:
        text_bpd: hidden states of the text tokens that are pivots too; there may be none.
    """
    best_bn = score_bn.sort(dim=-1, descending=True, stable=True).indices
    if count <= VISUAL:
        return best_bn[:, :count]
    picks = [best_bn[:, :VISUAL]]
    unit_bnd = unit(x_bnd)
    cosine_bvn = torch.cat([gather_tokens(unit_bnd, picks[0]), unit(text_bpd).to(unit_bnd.dtype)], 1) @ unit_bnd.mT
    each, more = divmod(count - VISUAL, cosine_bvn.shape[1])
    taken_bn = torch.zeros_like(score_bn, dtype=torch.bool).scatter(1, picks[0], True)
    for turn, cosine_bn in enumerate(cosine_bvn.unbind(1)):  # in turn: what one takes the next cannot
        free_bn = cosine_bn.masked_fill(taken_bn, float("inf"))
        picks.append(free_bn.sort(dim=-1, stable=True).indices[:, : each + (turn < more)])
        taken_bn = taken_bn.scatter(1, picks[-1], True)
    return torch.cat(picks, 1)
