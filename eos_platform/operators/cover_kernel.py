"""``cover`` on a GPU: one program an image walks through all picks, so that nothing waits between them.

Narrow tokens are compared row by row, as they are picked; of wide ones one program could not fetch the rows fast
enough, so that all pairs are multiplied beforehand, by the whole GPU.

Legend: b batch, n tokens, r picks, d width.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from eos_platform.operators.cover import FAR, NEAR, TINY
from eos_platform.operators.products import products
from eos_platform.operators.tokens import unit

TILE = 8192  # numbers of the token matrix held at once


@triton.jit
def _kernel(  # type: ignore[no-untyped-def]
    unit_bdn, score_bn, spread, order_br, gap_bn, n, d, picks, near, far, BLOCK: tl.constexpr, WIDTH: tl.constexpr
):
    image = tl.program_id(0).to(tl.int64)
    token, part = tl.arange(0, BLOCK), tl.arange(0, WIDTH)
    real = token < n
    weight = tl.load(spread).to(tl.float32)
    score = tl.load(score_bn + image * n + token, mask=real, other=float("-inf"))
    found = tl.full([BLOCK], 0.0, tl.float32) + far
    gap = tl.full([BLOCK], 0.0, tl.float32) + far
    taken = tl.zeros([BLOCK], tl.int32)
    for place in range(picks):
        # below any score: what was taken, and what is no token; -inf are tokens that are not there
        value = tl.where(taken == 1, float("-inf"), tl.maximum(score + weight * gap, -1e30))
        value = tl.where(real, value, float("-inf"))
        pick = tl.argmax(value, 0)
        mine = token == pick
        found = tl.where(mine, gap, found)
        taken = tl.where(mine, 1, taken)
        tl.store(order_br + image * picks + place, pick.to(tl.int64))
        cosine = tl.zeros([BLOCK], tl.float32)
        for start in range(0, d, WIDTH):
            row = (image * d + start + part) * n
            inside = start + part < d
            one = tl.load(unit_bdn + row + pick, mask=inside, other=0.0)
            all_ = tl.load(unit_bdn + row[:, None] + token[None, :], mask=inside[:, None] & real[None, :], other=0.0)
            cosine += tl.sum(all_ * one[:, None], 0)
        gap = tl.minimum(gap, tl.log(tl.maximum(1 - cosine, near)))
    tl.store(gap_bn + image * n + token, tl.where(taken == 1, found, gap), mask=real)


@triton.jit
def _walk(  # type: ignore[no-untyped-def]
    pair_bnn, scale_bn, score_bn, spread, order_br, gap_bn, n, picks, near, far, BLOCK: tl.constexpr
):
    image = tl.program_id(0).to(tl.int64)
    token = tl.arange(0, BLOCK)
    real = token < n
    weight = tl.load(spread).to(tl.float32)
    score = tl.load(score_bn + image * n + token, mask=real, other=float("-inf"))
    scale = tl.load(scale_bn + image * n + token, mask=real, other=0.0)
    found = tl.full([BLOCK], 0.0, tl.float32) + far
    gap = tl.full([BLOCK], 0.0, tl.float32) + far
    taken = tl.zeros([BLOCK], tl.int32)
    for place in range(picks):
        value = tl.where(taken == 1, float("-inf"), tl.maximum(score + weight * gap, -1e30))
        value = tl.where(real, value, float("-inf"))
        pick = tl.argmax(value, 0)
        row = tl.load(pair_bnn + (image * n + pick) * n + token, mask=real, other=0.0)
        own = tl.load(scale_bn + image * n + pick)
        mine = token == pick
        found = tl.where(mine, gap, found)
        taken = tl.where(mine, 1, taken)
        tl.store(order_br + image * picks + place, pick.to(tl.int64))
        gap = tl.minimum(gap, tl.log(tl.maximum(1 - row * scale * own, near)))
    tl.store(gap_bn + image * n + token, tl.where(taken == 1, found, gap), mask=real)


def cover_by_pairs(x_bnd: Tensor, score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    """What ``cover`` asks for, in float32: all products first, as one matrix product, then the walk through them."""
    b, n, _ = x_bnd.shape
    scale_bn = x_bnd.float().norm(dim=-1).clamp_min(TINY).reciprocal()
    order_br = torch.empty(b, picks, dtype=torch.long, device=x_bnd.device)
    gap_bn = torch.empty(b, n, dtype=torch.float32, device=x_bnd.device)
    block = triton.next_power_of_2(n)
    _walk[(b,)](
        products(x_bnd, x_bnd),
        scale_bn,
        score_bn.float(),
        spread.float(),
        order_br,
        gap_bn,
        n,
        picks,
        NEAR,
        FAR,
        BLOCK=block,
        num_warps=max(1, min(32, block // 128)),  # on an H200 1.0 us a pick of 576 tokens and 1.6 of 2,880
    )
    return order_br, gap_bn.to(score_bn.dtype)


def cover_by_rows(x_bnd: Tensor, score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    """What ``cover`` asks for, in float32, each pick costing one row of products."""
    unit_bnd = unit(x_bnd)
    b, n, d = unit_bnd.shape
    order_br = torch.empty(b, picks, dtype=torch.long, device=unit_bnd.device)
    gap_bn = torch.empty(b, n, dtype=torch.float32, device=unit_bnd.device)
    block = triton.next_power_of_2(n)
    _kernel[(b,)](
        unit_bnd.float().mT.contiguous(),
        score_bn.float(),
        spread.float(),
        order_br,
        gap_bn,
        n,
        d,
        picks,
        NEAR,
        FAR,
        BLOCK=block,
        WIDTH=max(1, TILE // block),
        num_warps=8,
    )
    return order_br, gap_bn.to(score_bn.dtype)
