"""The transfer of dropped tokens, deployed: what each kept token receives.

Legend: b batch, n tokens present, q those that give, r those that receive, k nearest, d width, e width of what is
compared.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from eos_platform.operators.grid import Grid, cells_of, frames_of
from eos_platform.operators.grid_tables import overlap_table, window_table
from eos_platform.operators.matmul import weighted_sums
from eos_platform.operators.spec import Support, Transfer
from eos_platform.operators.tokens import Tokens, at_least_float32, cosine, distance, gather_tokens


def scatter_dropped(
    transfer: Transfer,
    kept: Tokens,
    dropped: Tokens,
    importance_bq: Tensor | None,
    grid: Grid,
    compared: tuple[Tensor, Tensor] | None = None,
    alike_bqr: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """By source: what each of ``kept`` receives, sum_i t_ij x_i (b, r, d) and sum_i t_ij (b, r).

    Args:
        importance_bq: a_i of the dropped tokens; None: 1.
        compared: (b, r, e) and (b, q, e), what kept and dropped tokens are compared by; default: themselves.
        alike_bqr: how alike they are, where that is known already.
    """
    compared_bre, compared_bqe = compared or (kept.x_bnd, dropped.x_bnd)
    mass_bq = transfer.gamma * at_least_float32(dropped.size_bn)
    if importance_bq is not None:
        mass_bq = mass_bq * importance_bq
    if math.isinf(transfer.tau) and transfer.support.kind == "window":
        return _pooled(transfer.support, kept, dropped.origin_bn, mass_bq, at_least_float32(dropped.x_bnd), grid)
    if math.isinf(transfer.tau) and transfer.support.kind == "all":
        # everyone gets the same: one weighted sum, no similarity
        r = kept.x_bnd.shape[1]
        each_br = mass_bq.sum(-1, keepdim=True) / (r * kept.size_bn)
        x_bqd = at_least_float32(dropped.x_bnd)
        pooled_bd = torch.einsum("bq,bqd->bd", mass_bq.to(x_bqd.dtype), x_bqd)
        return pooled_bd[:, None] / (r * kept.size_bn[..., None]), each_br
    allowed_bqr = permitted(transfer.support, kept.origin_bn, dropped.origin_bn, grid)
    if alike_bqr is None:
        alike_bqr = similarity(transfer, compared_bqe, compared_bre)
    if transfer.tau == 0:
        return _merged(alike_bqr, allowed_bqr, mass_bq, at_least_float32(dropped.x_bnd), kept.size_bn)
    share_bqr = _shares(transfer, alike_bqr, allowed_bqr)
    t_bqr = share_bqr * mass_bq[..., None] / kept.size_bn[:, None]
    return weighted_sums(t_bqr, dropped.x_bnd), t_bqr.sum(1)


def gather_support(
    transfer: Transfer,
    tokens: Tokens,
    index_br: Tensor,
    importance_bn: Tensor | None,
    grid: Grid,
    compared_bne: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """By anchor: what each kept token takes of all others in its support, in the form of ``received``.

    Args:
        tokens: all tokens, of which those at ``index_br`` are kept.
        importance_bn: a_i; None: 1.
        compared_bne: what tokens are compared by; default: themselves.
    """
    mass_bn = transfer.gamma * at_least_float32(tokens.size_bn)
    if importance_bn is not None:
        mass_bn = mass_bn * importance_bn
    n, size = tokens.x_bnd.shape[1], transfer.support.size or 0
    self_brn = index_br[..., None] == torch.arange(n, device=index_br.device)
    if transfer.support.kind == "overlap":  # only where the whole grid is there, and kept are the windows' middles
        taken_brn = overlap_table(grid, size, index_br.device) & ~self_brn
    else:
        compared_bne = tokens.x_bnd if compared_bne is None else compared_bne
        alike_brn = similarity(transfer, gather_tokens(compared_bne, index_br), compared_bne)
        alike_brn = alike_brn.masked_fill(self_brn, -torch.inf)
        near_brk = alike_brn.sort(dim=-1, descending=True, stable=True).indices[..., : min(size, n - 1)]
        taken_brn = torch.zeros_like(self_brn).scatter_(-1, near_brk, True)
    t_brn = taken_brn * mass_bn[:, None] / gather_tokens(tokens.size_bn, index_br)[..., None]
    return weighted_sums(t_brn.mT, tokens.x_bnd), t_brn.sum(-1)


def similarity(transfer: Transfer, compared_bqe: Tensor, compared_bre: Tensor) -> Tensor:
    """How alike every pair is (b, q, r)."""
    if transfer.metric == "distance":
        return -distance(compared_bqe, compared_bre)
    return cosine(compared_bqe, compared_bre)


def permitted(support: Support, origin_br: Tensor, origin_bq: Tensor, grid: Grid) -> Tensor | None:
    """Whether dropped token i may give to kept token j (b, q, r); None where similarity alone decides: they lie in one
    window, or j is the latest at i's place of the frames before."""
    if support.kind == "tube":
        one = cells_of(grid) // frames_of(grid)
        frame_br, frame_bq1 = origin_br // one, (origin_bq // one)[..., None]
        same_bqr = (origin_bq % one)[..., None] == (origin_br % one)[:, None]
        earlier_bqr = (same_bqr & (frame_br[:, None] < frame_bq1)) * (frame_br[:, None] + 1)
        return (earlier_bqr > 0) & (earlier_bqr == earlier_bqr.amax(-1, keepdim=True))
    if support.kind != "window" or support.size is None:
        return None
    window_of = window_table(grid, support.size, origin_br.device)
    return window_of[origin_bq][..., None] == window_of[origin_br][:, None]


def _merged(
    alike_bqr: Tensor, allowed_bqr: Tensor | None, mass_bq: Tensor, x_bqd: Tensor, size_br: Tensor
) -> tuple[Tensor, Tensor]:
    """``received`` where each dropped token goes whole to one other: added up in place, no product of matrices.

    The most similar of all is also the most similar of the nearest, so that only windows limit the choice.
    """
    if allowed_bqr is not None:
        alike_bqr = alike_bqr.masked_fill(~allowed_bqr, torch.finfo(alike_bqr.dtype).min)
    best_bq = alike_bqr.argmax(-1)  # the first of equals
    t_bq = mass_bq / gather_tokens(size_br, best_bq)
    if allowed_bqr is not None:
        t_bq = t_bq * allowed_bqr.gather(-1, best_bq[..., None])[..., 0]
    return _added_up(best_bq, t_bq, x_bqd, size_br.shape[1])


def _pooled(
    support: Support, kept: Tokens, origin_bq: Tensor, mass_bq: Tensor, x_bqd: Tensor, grid: Grid
) -> tuple[Tensor, Tensor]:
    """``received`` where each window's dropped tokens are spread evenly over those kept of it: no product either."""
    assert support.size is not None
    window_of = window_table(grid, support.size, origin_bq.device)
    from_bq, to_br = window_of[origin_bq], window_of[kept.origin_bn]
    sum_bwd, total_bw = _added_up(from_bq, mass_bq, x_bqd, support.size)
    takers_bw = torch.zeros_like(total_bw).scatter_add(1, to_br, torch.ones_like(to_br, dtype=total_bw.dtype))
    each_br = 1 / (gather_tokens(takers_bw, to_br) * kept.size_bn)
    return gather_tokens(sum_bwd, to_br) * each_br[..., None].to(x_bqd.dtype), gather_tokens(total_bw, to_br) * each_br


def _added_up(place_bq: Tensor, weight_bq: Tensor, x_bqd: Tensor, places: int) -> tuple[Tensor, Tensor]:
    """At each of so many places, the weighted sum of the tokens that go there (b, places, d), and of their weights."""
    total = weight_bq.new_zeros(len(x_bqd), places).scatter_add(1, place_bq, weight_bq)
    x_bqd = weight_bq[..., None].to(x_bqd.dtype) * x_bqd
    sums = x_bqd.new_zeros(len(x_bqd), places, x_bqd.shape[-1])
    return sums.scatter_add(1, place_bq[..., None].expand_as(x_bqd), x_bqd), total


def _shares(transfer: Transfer, alike_bqr: Tensor, allowed_bqr: Tensor | None) -> Tensor:
    """P (b, q, r) where tau > 0: how each dropped token is shared out; a row of zeros where its support is empty."""
    size = transfer.support.size
    if transfer.support.kind == "nearest" and size is not None and size < alike_bqr.shape[-1]:
        near_bqr = alike_bqr.sort(dim=-1, descending=True, stable=True).indices[..., :size]
        allowed_bqr = torch.zeros_like(alike_bqr, dtype=torch.bool).scatter_(-1, near_bqr, True)
    if allowed_bqr is not None:
        alike_bqr = alike_bqr.masked_fill(~allowed_bqr, torch.finfo(alike_bqr.dtype).min)
    best_bq1 = alike_bqr.amax(-1, keepdim=True)
    share_bqr = ((alike_bqr - best_bq1) / transfer.tau).exp()  # shifted before dividing: tau may be tiny
    if allowed_bqr is not None:
        share_bqr = share_bqr * allowed_bqr
    return share_bqr / share_bqr.sum(-1, keepdim=True).clamp_min(1e-9)
