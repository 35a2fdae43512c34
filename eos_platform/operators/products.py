"""Products of all pairs of tokens, summed in float32 whatever the tokens' precision.

Legend: b batch, q and r tokens, e width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

HALF = (torch.bfloat16, torch.float16)
SUMS_WIDE = "dtype" in torch.ops.aten.bmm.overloads()  # since torch 2.8


@torch.library.custom_op("eos_platform::products", mutates_args=())
def products(x_bqe: Tensor, y_bre: Tensor) -> Tensor:
    """x_i . y_j of every pair (b, q, r), at least float32."""
    wide = torch.promote_types(x_bqe.dtype, torch.float32)
    return torch.bmm(x_bqe.to(wide), y_bre.to(wide).mT)


@products.register_fake
def _(x_bqe: Tensor, y_bre: Tensor) -> Tensor:
    wide = torch.promote_types(x_bqe.dtype, torch.float32)
    return x_bqe.new_empty(len(x_bqe), x_bqe.shape[1], y_bre.shape[1], dtype=wide)


@products.register_kernel("cuda")
def _(x_bqe: Tensor, y_bre: Tensor) -> Tensor:
    if x_bqe.dtype in HALF and y_bre.dtype == x_bqe.dtype and SUMS_WIDE:
        # tensor cores multiply halves exactly into wide sums, many times faster than wide numbers
        return torch.bmm(x_bqe, y_bre.mT, out_dtype=torch.float32)
    wide = torch.promote_types(x_bqe.dtype, torch.float32)
    return torch.bmm(x_bqe.to(wide), y_bre.to(wide).mT)


@register_flop_formula(torch.ops.eos_platform.products)
def _flops(x_shape: Any, y_shape: Any, **kwargs: Any) -> int:
    b, q, e = x_shape
    return int(2 * b * q * y_shape[1] * e)
