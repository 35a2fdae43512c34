"""Products of all pairs of tokens, and weighted sums of tokens, in float32 whatever the tokens' precision.

Legend: b batch, q and r tokens, e and d width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

HALF = (torch.bfloat16, torch.float16)
ALIGNED = 8  # halves, at which tensor cores want a row to begin
MANY = 2**15  # weights, from which on halves pay
SUMS_WIDE = "dtype" in torch.ops.aten.bmm.overloads()  # since torch 2.8


@torch.library.custom_op("eos_platform::pairwise_products", mutates_args=())
def pairwise_products(x_bqe: Tensor, y_bre: Tensor) -> Tensor:
    """x_i . y_j of every pair (b, q, r), at least float32."""
    wide = torch.promote_types(x_bqe.dtype, torch.float32)
    return torch.bmm(x_bqe.to(wide), y_bre.to(wide).mT)


@pairwise_products.register_fake
def _(x_bqe: Tensor, y_bre: Tensor) -> Tensor:
    wide = torch.promote_types(x_bqe.dtype, torch.float32)
    return x_bqe.new_empty(len(x_bqe), x_bqe.shape[1], y_bre.shape[1], dtype=wide)


@pairwise_products.register_kernel("cuda")
def _(x_bqe: Tensor, y_bre: Tensor) -> Tensor:
    if x_bqe.dtype in HALF and y_bre.dtype == x_bqe.dtype and SUMS_WIDE:
        # tensor cores multiply halves exactly into wide sums, many times faster than wide numbers, if rows are aligned
        r = y_bre.shape[1]
        if r % ALIGNED:
            y_bre = torch.nn.functional.pad(y_bre, (0, 0, 0, -r % ALIGNED))
        return torch.bmm(x_bqe, y_bre.mT, out_dtype=torch.float32)[..., :r].contiguous()
    wide = torch.promote_types(x_bqe.dtype, torch.float32)
    return torch.bmm(x_bqe.to(wide), y_bre.to(wide).mT)


@register_flop_formula(torch.ops.eos_platform.pairwise_products)
def _flops(x_shape: Any, y_shape: Any, **kwargs: Any) -> int:
    b, q, e = x_shape
    return int(2 * b * q * y_shape[1] * e)


def weighted_sums(t_bqr: Tensor, x_bqd: Tensor) -> Tensor:
    """sum_i t_ij x_i (b, r, d), at least float32.

    Args:
        t_bqr: weights, at least float32.
        x_bqd: tokens, of any precision.
    """
    # float16 does not reach far enough: a large weight would be infinite, of a small one too little would be left
    halves = x_bqd.dtype == torch.bfloat16 and x_bqd.is_cuda and SUMS_WIDE and not torch.is_grad_enabled()
    if not halves or t_bqr.shape[1] * t_bqr.shape[2] < MANY:
        wide = torch.promote_types(x_bqd.dtype, torch.float32)
        return t_bqr.mT.to(wide) @ x_bqd.to(wide)
    # a weight as the sum of two halves, which is 16 bits of it
    high_bqr = t_bqr.to(x_bqd.dtype)
    low_bqr = (t_bqr - high_bqr).to(x_bqd.dtype)
    r = t_bqr.shape[2]
    none_bqp = high_bqr.new_zeros(*t_bqr.shape[:2], -2 * r % ALIGNED)
    sums_bkd = _sums(torch.cat([high_bqr, low_bqr, none_bqp], -1), x_bqd, r)
    return sums_bkd[:, :r] + sums_bkd[:, r : 2 * r]


@torch.library.custom_op("eos_platform::weighted_sums", mutates_args=())
def _sums(t_bqk: Tensor, x_bqd: Tensor, sums: int) -> Tensor:
    """sum_i t_ij x_i (b, k, d), float32, of halves; for ``sums`` sums, so many products count."""
    return torch.bmm(t_bqk.mT, x_bqd.contiguous(), out_dtype=torch.float32)


@_sums.register_fake
def _(t_bqk: Tensor, x_bqd: Tensor, sums: int) -> Tensor:
    return x_bqd.new_empty(len(x_bqd), t_bqk.shape[2], x_bqd.shape[2], dtype=torch.float32)


@register_flop_formula(torch.ops.eos_platform.weighted_sums)
def _sums_flops(t_shape: Any, x_shape: Any, sums: int, **kwargs: Any) -> int:
    b, q, _ = t_shape
    return int(2 * b * q * sums * x_shape[2])
