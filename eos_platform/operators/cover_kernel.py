"""``cover`` on a GPU: one program an image walks through all picks, so that nothing waits between them.

Legend: b batch, n tokens, r picks, d width.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

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


def cover_on_gpu(unit_bnd: Tensor, score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    """What ``cover`` asks for, in float32."""
    from eos_platform.operators.cover import FAR, NEAR

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
