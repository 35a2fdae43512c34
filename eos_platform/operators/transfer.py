"""What becomes of the tokens that go, deployed: their shares of the tokens that stay.

Legend: b batch, q dropped, r kept, d width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from eos_platform.operators.grid import window_table
from eos_platform.operators.spec import Support, Transfer
from eos_platform.operators.tokens import Tokens, unit, wide


def received(
    transfer: Transfer, kept: Tokens, dropped: Tokens, importance_bq: Tensor | None, grid: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """What each kept token receives: sum_i t_ij x_i (b, r, d) and sum_i t_ij (b, r).

    Args:
        importance_bq: a_i of the dropped tokens; None: 1.
    """
    mass_bq = transfer.gamma * wide(dropped.size_bn)
    if importance_bq is not None:
        mass_bq = mass_bq * importance_bq
    x_bqd = wide(dropped.x_bnd)
    if math.isinf(transfer.tau) and transfer.support.kind == "all":
        # everyone gets the same: one weighted sum, no similarity
        r = kept.x_bnd.shape[1]
        each_br = mass_bq.sum(-1, keepdim=True) / (r * kept.size_bn)
        pooled_bd = torch.einsum("bq,bqd->bd", mass_bq.to(x_bqd.dtype), x_bqd)
        return pooled_bd[:, None] / (r * kept.size_bn[..., None]), each_br
    t_bqr = _shares(transfer, kept, dropped, grid) * mass_bq[..., None] / kept.size_bn[:, None]
    return t_bqr.mT.to(x_bqd.dtype) @ x_bqd, t_bqr.sum(1)


def permitted(support: Support, origin_br: Tensor, origin_bq: Tensor, grid: tuple[int, int]) -> Tensor | None:
    """Whether dropped token i and kept token j lie in one window (b, q, r); None where the support has no windows."""
    if support.kind != "window" or support.size is None:
        return None
    window_of = window_table(grid, support.size, origin_br.device)
    return window_of[origin_bq][..., None] == window_of[origin_br][:, None]


def _shares(transfer: Transfer, kept: Tokens, dropped: Tokens, grid: tuple[int, int]) -> Tensor:
    """P (b, q, r): how each dropped token is shared out; a row of zeros where its support is empty."""
    allowed_bqr = permitted(transfer.support, kept.origin_bn, dropped.origin_bn, grid)
    if allowed_bqr is not None and math.isinf(transfer.tau):
        share_bqr = allowed_bqr.to(torch.promote_types(kept.x_bnd.dtype, torch.float32))
        return share_bqr / share_bqr.sum(-1, keepdim=True).clamp_min(1)
    cosine_bqr = unit(dropped.x_bnd) @ unit(kept.x_bnd).mT
    size = transfer.support.size
    if transfer.support.kind == "nearest" and size is not None and size < cosine_bqr.shape[-1]:
        near_bqr = cosine_bqr.sort(dim=-1, descending=True, stable=True).indices[..., :size]
        allowed_bqr = torch.zeros_like(cosine_bqr, dtype=torch.bool).scatter_(-1, near_bqr, True)
    if allowed_bqr is not None:
        cosine_bqr = cosine_bqr.masked_fill(~allowed_bqr, -3.0)  # below any cosine
    if transfer.tau == 0:
        best_bq1 = cosine_bqr.argmax(-1, keepdim=True)  # the first of equals
        share_bqr = torch.zeros_like(cosine_bqr).scatter_(-1, best_bq1, 1.0)
    else:
        best_bq1 = cosine_bqr.amax(-1, keepdim=True)
        share_bqr = ((cosine_bqr - best_bq1) / transfer.tau).exp()  # shifted before dividing: tau may be tiny
        if allowed_bqr is not None:
            share_bqr = share_bqr * allowed_bqr
        share_bqr = share_bqr / share_bqr.sum(-1, keepdim=True).clamp_min(1e-9)
    return share_bqr if allowed_bqr is None else share_bqr * allowed_bqr
