"""Selector ``bipartite``: pairs of the most similar tokens lose one, a few at a time (VisPruner, arXiv 2412.01818).

Legend: b batch, n tokens, e width of what they are compared by, l still listed, i even places of the list, j odd ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eos_platform.operators.tokens import unit

STEP = 8  # tokens that leave in one round


def bipartite(compared_bne: Tensor, score_bn: Tensor, count: int) -> Tensor:
    """The ``count`` tokens left (b, count), in no particular order.

    The tokens are listed, best score first. In each round every even place looks for its most similar odd place, and
    the even places with the most similar ones leave; those that stay go first in the next list, the most similar
    leading, then the odd places.
    """
    # in double precision: were two of these to change places by rounding, all later rounds would pair others
    unit_bne = unit(compared_bne.double())
    cosine_bnn = unit_bne @ unit_bne.mT
    row_b11 = torch.arange(len(score_bn), device=score_bn.device)[:, None, None]
    list_bl = score_bn.sort(dim=-1, descending=True, stable=True).indices
    while list_bl.shape[1] > count:  # how often is known from the counts alone
        even_bi, odd_bj = list_bl[:, 0::2], list_bl[:, 1::2]
        leave = min(STEP, list_bl.shape[1] - count, even_bi.shape[1])
        nearest_bi = cosine_bnn[row_b11, even_bi[:, :, None], odd_bj[:, None]].amax(-1)
        order_bi = nearest_bi.sort(dim=-1, descending=True, stable=True).indices
        list_bl = torch.cat([even_bi.gather(1, order_bi[:, leave:]), odd_bj], 1)
    return list_bl
