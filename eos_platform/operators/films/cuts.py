"""Where a film is cut into segments, and which places stand still in each.

Legend: b batch, t frames, p places of a frame, d width, s segments (as many as frames at most).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from eos_platform.operators.rules import Segments
from eos_platform.operators.selectors.density import density
from eos_platform.operators.tokens import distance, unit


def segments_of(rule: Segments, x_btpd: Tensor) -> Tensor:
    """The segment of each frame (b, t), long, from 0 on and never falling."""
    if rule.cut == "static":
        return most_redundant(_same(x_btpd, rule.above))
    mean_btd = x_btpd.mean(2)
    if rule.cut == "gaps":
        alike_bt = (unit(mean_btd[:, 1:]) * unit(mean_btd[:, :-1])).sum(-1)
        cut_bt = alike_bt < rule.alike
        least_bk = alike_bt.sort(dim=-1, stable=True).indices[:, : rule.parts - 1]
        return _numbered(cut_bt.scatter(1, least_bk, True))
    frames = mean_btd.shape[1]
    centre_bk = density(mean_btd, math.ceil(rule.share * frames), rule.neighbours)
    chosen_bkd = mean_btd.gather(1, centre_bk[..., None].expand(-1, -1, mean_btd.shape[-1]))
    cluster_bt = distance(mean_btd, chosen_bkd).argmin(-1)
    return _numbered(cluster_bt[:, 1:] != cluster_bt[:, :-1])


def most_redundant(same_btp: Tensor) -> Tensor:
    """The segments (b, t) with the largest sum of (places that never change in it) * (its frames - 1).

    By dynamic programming over where the last segment begins; of equals, the earliest.

    Args:
        same_btp: bool, whether a place is what it was a frame before; of the frames from the second on.
    """
    b, pairs, places = same_btp.shape
    frames = pairs + 1
    best = same_btp.new_zeros(b, frames + 1, dtype=torch.long)  # of the first so many frames
    begin = same_btp.new_zeros(b, frames + 1, dtype=torch.long)  # of the last segment among them
    since_bp = same_btp.new_zeros(b, places, dtype=torch.long)  # frame from which on a place has not changed
    frame_t = torch.arange(frames, device=same_btp.device)
    for last in range(frames):
        if last:
            since_bp = torch.where(same_btp[:, last - 1], since_bp, last)
        began_bt = torch.zeros_like(best[:, :frames]).scatter_add(1, since_bp, torch.ones_like(since_bp)).cumsum(1)
        value_bt = best[:, : last + 1] + began_bt[:, : last + 1] * (last - frame_t[: last + 1])
        top_b, at_b = value_bt.max(-1)
        # the first of equals: ``max`` promises none
        at_b = torch.where(value_bt == top_b[:, None], frame_t[: last + 1], frames).amin(-1)
        best[:, last + 1], begin[:, last + 1] = top_b, at_b
    end_b = begin.new_full((b,), frames)
    cut_bt = same_btp.new_zeros(b, frames + 1)
    for _ in range(frames):
        end_b = begin.gather(1, end_b[:, None])[:, 0]
        cut_bt = cut_bt.scatter(1, end_b[:, None], True)
    return _numbered(cut_bt[:, 1:frames])


def still_places(rule: Segments, x_btpd: Tensor, segment_bt: Tensor) -> Tensor:
    """Whether a place stands still in the segment of its frame (b, t, p), bool; in one of a single frame none does."""
    places = x_btpd.shape[2]
    index_btp = segment_bt[..., None].expand(-1, -1, places)
    if rule.still == "none":
        return torch.zeros_like(index_btp, dtype=torch.bool)
    long_bs = torch.zeros_like(segment_bt).scatter_add(1, segment_bt, torch.ones_like(segment_bt))
    if rule.still == "each":
        changed_btp = torch.zeros_like(index_btp)
        inside_bt = segment_bt[:, 1:] == segment_bt[:, :-1]
        changed_btp[:, 1:] = (~_same(x_btpd, rule.above) & inside_bt[..., None]).long()
        still_bsp = torch.zeros_like(index_btp).scatter_add(1, index_btp, changed_btp) == 0
    else:
        unit_btpd = unit(x_btpd)
        sum_bspd = summed(unit_btpd, segment_bt)
        # cosines with itself, which are 1 but of a token without length
        own_bsp = torch.zeros_like(sum_bspd[..., 0]).scatter_add(1, index_btp, unit_btpd.square().sum(-1))
        pairs_bs1 = (long_bs * (long_bs - 1)).clamp_min(1)[..., None]
        still_bsp = (sum_bspd.square().sum(-1) - own_bsp) / pairs_bs1 > rule.above
    return (still_bsp & (long_bs > 1)[..., None]).gather(1, index_btp)


def summed(x_btpd: Tensor, segment_bt: Tensor) -> Tensor:
    """The sum over each segment, place by place (b, s, p, d)."""
    return torch.zeros_like(x_btpd).scatter_add(1, segment_bt[..., None, None].expand_as(x_btpd), x_btpd)


def _same(x_btpd: Tensor, above: float) -> Tensor:
    unit_btpd = unit(x_btpd)
    return (unit_btpd[:, 1:] * unit_btpd[:, :-1]).sum(-1) > above


def _numbered(cut_bt: Tensor) -> Tensor:
    """Segments, of cuts before each frame but the first."""
    return torch.cat([torch.zeros_like(cut_bt[:, :1]), cut_bt], 1).long().cumsum(1)
