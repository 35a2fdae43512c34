"""The visual tokens at a site, and the few tensor moves everything here shares.

Legend: b batch, n tokens present, r kept, q dropped, d width, e width of what tokens are compared by.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eos_platform.operators.matmul import HALF, pairwise_products

TINY = 1e-12  # a token shorter than this is like no other


class Tokens(NamedTuple):
    """Deployed: only the tokens still present, in raster order."""

    x_bnd: Tensor
    size_bn: Tensor  # float32: how many original tokens each stands for
    origin_bn: Tensor  # long: raster index of each in the original grid

    @classmethod
    def of(cls, x_bnd: Tensor) -> Tokens:
        """All tokens of the grid, untouched so far."""
        b, n, _ = x_bnd.shape
        origin_bn = torch.arange(n, device=x_bnd.device).expand(b, n)
        return cls(x_bnd, torch.ones(b, n, device=x_bnd.device), origin_bn)


class RelaxedTokens(NamedTuple):
    """Relaxed: every token of the grid, each with how much of it is still there (presence in [0, 1])."""

    x_bnd: Tensor
    size_bn: Tensor
    origin_bn: Tensor
    presence_bn: Tensor

    @classmethod
    def of(cls, x_bnd: Tensor) -> RelaxedTokens:
        """All tokens of the grid, untouched so far and wholly present."""
        x_bnd, size_bn, origin_bn = Tokens.of(x_bnd)
        return cls(x_bnd, size_bn, origin_bn, torch.ones_like(size_bn))


def at_least_float32(x: Tensor) -> Tensor:
    """At least float32: scores, softmaxes and sums are never taken in half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def without_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """While it holds, products are taken in the precision they are given in, on the device of ``x``.

    Where automatic precision is off, nothing happens: AOTAutograd keeps no graph that turns it off, so that a compiled
    site would be traced again in every process. Dynamo compiles again where it is on.
    """
    device = x.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def gather_tokens(values: Tensor, index_br: Tensor) -> Tensor:
    """Rows ``index_br`` of ``values`` (b, n) or (b, n, d)."""
    if values.dim() == 2:
        return values.gather(1, index_br)
    return values.gather(1, index_br[..., None].expand(-1, -1, values.shape[-1]))


def unit(x_bnd: Tensor) -> Tensor:
    """Each token scaled to length 1 (a zero token stays zero), so that products are cosines."""
    return torch.nn.functional.normalize(at_least_float32(x_bnd), dim=-1)


def centred(x_bnd: Tensor, presence_bn: Tensor | None = None) -> Tensor:
    """Each token less the mean of those present."""
    x_bnd = at_least_float32(x_bnd)
    if presence_bn is None:
        return x_bnd - x_bnd.mean(1, keepdim=True)
    share_bn = presence_bn / presence_bn.sum(-1, keepdim=True).clamp_min(TINY)
    return x_bnd - torch.einsum("bn,bnd->bd", share_bn.to(x_bnd.dtype), x_bnd)[:, None]


def cosine(x_bqe: Tensor, x_bre: Tensor) -> Tensor:
    """Of every pair (b, q, r), at least float32."""
    if x_bqe.dtype in HALF and x_bqe.is_cuda and not torch.is_grad_enabled():
        length_bq1, length_br1 = (
            at_least_float32(x).norm(dim=-1, keepdim=True).clamp_min(TINY) for x in (x_bqe, x_bre)
        )
        return pairwise_products(x_bqe, x_bre) / (length_bq1 * length_br1.mT)
    return unit(x_bqe) @ unit(x_bre).mT


@torch.no_grad()
def cosine_of_all(x_bne: Tensor) -> Tensor:
    """Of every pair of the same tokens (b, n, n); what they are scaled by stands on the diagonal of their products."""
    pair_bnn = pairwise_products(x_bne, x_bne)
    scale_bn = pair_bnn.diagonal(dim1=1, dim2=2).clamp_min(TINY**2).rsqrt()
    return pair_bnn.mul_(scale_bn[..., None]).mul_(scale_bn[:, None])  # in place: there may be many pairs


def partition(mask_bn: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Where ``mask_bn`` holds, which is at ``count`` places of each row, and where not; both ascending.

    By counting, not by sorting: a sort takes several times as long on a GPU.
    """
    n = mask_bn.shape[-1]
    place_n = torch.arange(n, device=mask_bn.device)
    before_bn = mask_bn.long().cumsum(-1)
    goes_bn = torch.where(mask_bn, before_bn - 1, count + place_n - before_bn).clamp(0, n - 1)
    order_bn = torch.zeros_like(before_bn).scatter(-1, goes_bn, place_n.expand_as(before_bn))
    return order_bn[..., :count], order_bn[..., count:]


def distance(x_bqe: Tensor, x_bre: Tensor) -> Tensor:
    """Euclidean distance / sqrt(e) of every pair (b, q, r): the root mean square difference."""
    # not by products: their rounding would part equal vectors
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(at_least_float32(x_bqe), at_least_float32(x_bre), compute_mode=exact) / x_bqe.shape[-1] ** 0.5
