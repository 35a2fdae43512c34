"""``diverse_topk`` on a GPU: one program an image walks through all picks, so that nothing waits between them.

Narrow tokens are compared row by row, as they are picked; of wide ones one program could not fetch the rows fast
enough, so that all pairs are compared beforehand, by the whole GPU, logarithm and all.

Legend: b batch, n tokens, r picks, d width.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from eos_platform.operators.selectors.log_distance import ABSENT, FAR, NEAR
from eos_platform.operators.tokens import unit

TILE = 8192  # numbers of the token matrix held at once


@triton.jit
def _kernel(  # type: ignore[no-untyped-def]
    unit_bdn,
    score_bn,
    spread,
    order_br,
    gap_bn,
    n,
    d,
    picks,
    near,
    far,
    absent,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
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
        value = tl.where(taken == 1, float("-inf"), tl.maximum(score + weight * gap, absent))
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
def _better(value_a, place_a, value_b, place_b):  # type: ignore[no-untyped-def]
    return (value_a > value_b) | ((value_a == value_b) & (place_a < place_b))


@triton.jit
def _two_best(value_a, place_a, next_a, after_a, value_b, place_b, next_b, after_b):  # type: ignore[no-untyped-def]
    """Of two pairs (values and places of the best and the next best) the best pair."""
    leads = _better(value_a, place_a, value_b, place_b)
    beaten, behind = tl.where(leads, value_b, value_a), tl.where(leads, place_b, place_a)
    second, after = tl.where(leads, next_a, next_b), tl.where(leads, after_a, after_b)
    holds = _better(second, after, beaten, behind)
    value, place = tl.where(leads, value_a, value_b), tl.where(leads, place_a, place_b)
    return value, place, tl.where(holds, second, beaten), tl.where(holds, after, behind)


@triton.jit
def _walk(  # type: ignore[no-untyped-def]
    gap_bnn, score_bn, spread, order_br, gap_bn, n, picks, far, absent, BLOCK: tl.constexpr
):
    image = tl.program_id(0).to(tl.int64)
    token = tl.arange(0, BLOCK)
    real = token < n
    weight = tl.load(spread).to(tl.float32)
    score = tl.maximum(tl.load(score_bn + image * n + token, mask=real, other=0.0), absent)
    score = tl.where(real, score, float("-inf"))  # what is no token, and soon what was picked
    gap = tl.full([BLOCK], 0.0, tl.float32) + far
    nothing, nowhere = tl.full([BLOCK], float("-inf"), tl.float32), tl.full([BLOCK], BLOCK, tl.int32)
    place = 0
    while place < picks:
        value = score + weight * gap
        _, pick, second, after = tl.reduce((value, token, nothing, nowhere), 0, _two_best)
        pick, after = tl.minimum(pick, n - 1), tl.minimum(after, n - 1)  # not beyond, even where values are no numbers
        row = tl.load(gap_bnn + (image * n + pick) * n + token, mask=real, other=0.0)
        next_row = tl.load(gap_bnn + (image * n + after) * n + token, mask=real, other=0.0)
        # nothing rises (a spread is never below 0): where the pick leaves the next best as good as it was, that is the
        # pick after it
        between = tl.load(gap_bnn + (image * n + pick) * n + after)
        own = tl.maximum(tl.load(score_bn + image * n + after), absent)
        twin = tl.where(own + weight * between >= second, after, -1)
        twin = tl.where(place + 1 < picks, twin, -1)
        score = tl.where(token == pick, float("-inf"), score)
        gap = tl.where(score == float("-inf"), gap, tl.minimum(gap, row))  # a token's own stays as it was when picked
        score = tl.where(token == twin, float("-inf"), score)
        gap = tl.where(score == float("-inf"), gap, tl.minimum(gap, tl.where(twin < 0, far, next_row)))
        tl.store(order_br + image * picks + place, pick.to(tl.int64))
        tl.store(order_br + image * picks + place + 1, twin.to(tl.int64), mask=twin >= 0)
        place += tl.where(twin < 0, 1, 2)
    tl.store(gap_bn + image * n + token, gap, mask=real)


def greedy_select(gap_bnn: Tensor, score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    """What ``diverse_topk`` asks for, in float32, where the log distances of all pairs are known."""
    b, n, _ = gap_bnn.shape
    order_br = torch.empty(b, picks, dtype=torch.long, device=gap_bnn.device)
    gap_bn = torch.empty(b, n, dtype=torch.float32, device=gap_bnn.device)
    block = triton.next_power_of_2(n)
    with torch.cuda.device_of(gap_bnn):  # Triton launches on the current device, whatever its tensors are on
        _walk[(b,)](
            gap_bnn.float().contiguous(),
            score_bn.float(),
            spread.float(),
            order_br,
            gap_bn,
            n,
            picks,
            FAR,
            ABSENT,
            BLOCK=block,
            num_warps=max(1, min(16, block // 128)),  # on an H100 .6 us a pick of 576 tokens and .9 of 2,880
        )
    return order_br, gap_bn.to(score_bn.dtype)


def diverse_topk_by_rows(x_bnd: Tensor, score_bn: Tensor, spread: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    """What ``diverse_topk`` asks for, in float32, each pick costing one row of products."""
    unit_bnd = unit(x_bnd)
    b, n, d = unit_bnd.shape
    order_br = torch.empty(b, picks, dtype=torch.long, device=unit_bnd.device)
    gap_bn = torch.empty(b, n, dtype=torch.float32, device=unit_bnd.device)
    block = triton.next_power_of_2(n)
    with torch.cuda.device_of(unit_bnd):
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
            ABSENT,
            BLOCK=block,
            WIDTH=max(1, TILE // block),
            num_warps=8,
        )
    return order_br, gap_bn.to(score_bn.dtype)
