"""Selector ``segments``: a film cut into segments; of each what stands still once, and centres that others join.

All tokens of the film are there, and their number that stays is fixed, so every shape is known beforehand.

Legend: b batch, n tokens of the film, t frames, p places of a frame (n = t * p), r kept, d width, q others of a frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.operators.films.cuts import segments_of, still_places, summed
from eos_platform.operators.grid import Grid, cells_of, frames_of
from eos_platform.operators.matmul import weighted_sums
from eos_platform.operators.rules import Segments
from eos_platform.operators.selectors.quota import apportioned
from eos_platform.operators.tokens import at_least_float32, cosine, distance, gather_tokens, partition


class Kept(NamedTuple):
    """What stays: which of the tokens, what they have become, and how many they stand for."""

    index_br: Tensor  # long, ascending
    x_brd: Tensor  # at least float32
    size_br: Tensor


class _Film(NamedTuple):
    """What is known of each token; all (b, t, p)."""

    moving: Tensor
    first: Tensor  # stands still, and speaks for its place in all of the segment
    salient: Tensor  # stays by score
    kind: Tensor  # 1: may be a centre of what moves; 2: of what stands still; 0: neither
    line: Tensor  # who stays first, ascending
    picked: Tensor  # within the quota of centres


def reduce_segments(
    rule: Segments, x_bnd: Tensor, score_bn: Tensor | None, grid: Grid, keep: int, merges: bool
) -> Kept:
    """Keep so many tokens of a film.

    Args:
        rule: how it is cut, and what stays.
        x_bnd: all of its tokens.
        score_bn: which of the moving ones matter, where some stay by score.
        grid: frames, rows and columns.
        keep: tokens that stay.
        merges: whether others join them; else they stay as they are.

    Raises:
        EosError: some tokens of the film are gone already.
    """
    frames, places = frames_of(grid), cells_of(grid) // frames_of(grid)
    if x_bnd.shape[1] != frames * places:
        raise EosError(f"selector 'segments' needs all {frames * places} tokens of the film, not {x_bnd.shape[1]}")
    given_bnd, x_btpd = x_bnd, at_least_float32(x_bnd).unflatten(1, (frames, places))
    with torch.no_grad():
        segment_bt = segments_of(rule, x_btpd)
        still_btp = still_places(rule, x_btpd, segment_bt)
    size_btp = torch.ones_like(x_btpd[..., 0])
    if rule.still != "none" and merges:
        long_bt = _of_segment(torch.ones_like(segment_bt), segment_bt)
        index_btpd = segment_bt[..., None, None].expand_as(x_btpd)
        mean_btpd = summed(x_btpd, segment_bt).gather(1, index_btpd) / long_bt[..., None, None]
        x_btpd = torch.where(still_btp[..., None], mean_btpd, x_btpd)
        size_btp = torch.where(still_btp, long_bt[..., None].to(size_btp.dtype), size_btp)
    with torch.no_grad():
        score_btp = None if score_bn is None else score_bn.unflatten(1, (frames, places))
        film = _looked_at(rule, x_btpd, score_btp, segment_bt, still_btp, keep)
        order_bn = film.line.flatten(1).sort(dim=-1, stable=True).indices
        stays_bn = torch.zeros_like(film.line.flatten(1), dtype=torch.bool).scatter(1, order_bn[:, :keep], True)
        index_br = partition(stays_bn, keep)[0]
    x_bnd, size_bn = x_btpd.flatten(1, 2), size_btp.flatten(1)
    kept = Kept(index_br, gather_tokens(x_bnd, index_br), gather_tokens(size_bn, index_br))
    if not merges or (rule.salient == 1 and rule.still == "none"):
        return kept
    if rule.reach == "frame":
        return _joined_in_frames(rule, film, stays_bn, x_btpd, size_bn, kept)
    return _joined_in_segments(rule, film, stays_bn, given_bnd, segment_bt, kept)


def _looked_at(
    rule: Segments, x_btpd: Tensor, score_btp: Tensor | None, segment_bt: Tensor, still_btp: Tensor, keep: int
) -> _Film:
    frames = x_btpd.shape[1]
    moving_btp = ~still_btp
    starts_bt = torch.ones_like(segment_bt, dtype=torch.bool)
    starts_bt[:, 1:] = segment_bt[:, 1:] != segment_bt[:, :-1]
    first_btp = still_btp & starts_bt[..., None]
    anchor_bt = _to_end(segment_bt) % rule.every == 0
    moves_bt = moving_btp.sum(-1)
    anchors_bt = _of_segment(anchor_bt.long(), segment_bt)  # at least one, the last frame
    of_centres_bt = anchor_bt * _of_segment(moves_bt, segment_bt) / anchors_bt
    weights = (rule.salient * moves_bt, (1 - rule.salient) * of_centres_bt, first_btp.sum(-1))
    quota_bg = apportioned(torch.cat([weight.to(x_btpd.dtype) for weight in weights], 1), keep)
    salient_b, centres_b, still_b = (part[..., None] for part in quota_bg.split(frames, 1))

    last = x_btpd.shape[1] * x_btpd.shape[2]
    line_btp = torch.full_like(first_btp, 2 * last, dtype=torch.long)
    salient_btp = torch.zeros_like(first_btp)
    if score_btp is not None:
        rank_btp = _rank(score_btp, moving_btp)
        salient_btp = moving_btp & (rank_btp < salient_b)
        line_btp = torch.where(moving_btp, rank_btp - salient_b, line_btp)
    elif rule.salient == 0:
        line_btp = torch.where(moving_btp, last, line_btp)
    kind_btp = (moving_btp & ~salient_btp & anchor_bt[..., None] & (rule.salient < 1)).long() + 2 * first_btp.long()
    picked_btp = torch.zeros_like(first_btp)
    if rule.salient < 1 or rule.still != "none":
        value_btp = _density(x_btpd, kind_btp, rule.neighbours)
        for kind, quota_bt1 in ((1, centres_b), (2, still_b)):
            member_btp = kind_btp == kind
            rank_btp = _rank(value_btp, member_btp)
            picked_btp = picked_btp | (member_btp & (rank_btp < quota_bt1))
            if kind == 2 or rule.salient == 0:
                line_btp = torch.where(member_btp, rank_btp - quota_bt1, line_btp)
    line_btp = torch.where(salient_btp | picked_btp, -last - 1, line_btp)
    return _Film(moving_btp, first_btp, salient_btp, kind_btp, line_btp, picked_btp)


def _density(x_btpd: Tensor, kind_btp: Tensor, neighbours: int) -> Tensor:
    """How dense each token is, and how far from denser ones, among those of its kind and frame (b, t, p): as the
    selector ``density`` has it."""
    apart_btpq = distance(x_btpd.flatten(0, 1), x_btpd.flatten(0, 1)).unflatten(0, x_btpd.shape[:2])
    alike_btpq = (kind_btp[..., None] == kind_btp[..., None, :]) & (kind_btp > 0)[..., None]
    squared_btpq = apart_btpq.square().masked_fill(~alike_btpq, torch.inf)
    nearest_btpk = squared_btpq.topk(min(neighbours, squared_btpq.shape[-1]), largest=False).values
    there_btpk = nearest_btpk.isfinite()
    total_btp = torch.where(there_btpk, nearest_btpk, 0.0).sum(-1)
    density_btp = -total_btp / there_btpk.sum(-1).clamp_min(1)
    mine_btp1, other_btp1 = density_btp[..., None], density_btp[..., None, :]
    denser_btpq = (other_btp1 > mine_btp1) | (other_btp1 == mine_btp1).tril(-1)
    gap_btp = apart_btpq.masked_fill(~(denser_btpq & alike_btpq), torch.inf).amin(-1)
    widest_btp = apart_btpq.masked_fill(~alike_btpq, 0.0).amax(-1)
    for kind in (1, 2):
        member_btp = kind_btp == kind
        whole_bt1 = widest_btp.masked_fill(~member_btp, 0.0).amax(-1, keepdim=True)
        gap_btp = torch.where(member_btp, gap_btp.minimum(whole_bt1), gap_btp)
    return density_btp + gap_btp.log()


def _joined_in_frames(
    rule: Segments, film: _Film, stays_bn: Tensor, x_btpd: Tensor, size_bn: Tensor, kept: Kept
) -> Kept:
    """Those that go join the most similar centre of their kind in their frame."""
    places = x_btpd.shape[2]
    stays_btp = stays_bn.unflatten(1, x_btpd.shape[1:3])
    with torch.no_grad():
        centre_btp = stays_btp & (film.picked | film.first | (film.moving & (rule.salient == 0)))
        alike_btpq = cosine(x_btpd.flatten(0, 1), x_btpd.flatten(0, 1)).unflatten(0, x_btpd.shape[:2])
        may_btpq = centre_btp[..., None, :] & (film.kind[..., None] == film.kind[..., None, :])
        to_btp = alike_btpq.masked_fill(~may_btpq, -torch.inf).argmax(-1)
        gives_btp = ~stays_btp & (film.kind > 0) & may_btpq.any(-1)
        frame_t1 = torch.arange(x_btpd.shape[1], device=x_btpd.device)[:, None]
        to_bn = (to_btp + frame_t1 * places).flatten(1)
        weight_bn = gives_btp.flatten(1).to(x_btpd.dtype)
    given_bnd = x_btpd.flatten(1, 2) * weight_bn[..., None]
    sum_bnd = torch.zeros_like(given_bnd).scatter_add(1, to_bn[..., None].expand_as(given_bnd), given_bnd)
    many_bn = torch.zeros_like(weight_bn).scatter_add(1, to_bn, weight_bn)
    more_bn = torch.zeros_like(weight_bn).scatter_add(1, to_bn, weight_bn * size_bn)
    sum_brd, many_br = gather_tokens(sum_bnd, kept.index_br), gather_tokens(many_bn, kept.index_br)
    return _averaged(rule, kept, sum_brd, many_br, gather_tokens(more_bn, kept.index_br))


def _joined_in_segments(
    rule: Segments, film: _Film, stays_bn: Tensor, x_bnd: Tensor, segment_bt: Tensor, kept: Kept
) -> Kept:
    """In each frame of its segment that has centres, every token but those that stay by score, and the frame's own
    centres, joins the most similar of them."""
    with torch.no_grad():
        frames, places = film.moving.shape[1:]
        frame_n = torch.arange(frames * places, device=x_bnd.device) // places
        centre_bn = stays_bn & (film.picked | (film.moving & (rule.salient == 0))).flatten(1)
        segment_bn, frame_br = segment_bt[:, frame_n], frame_n[kept.index_br]
        among_bnr = segment_bn[..., None] == gather_tokens(segment_bn, kept.index_br)[:, None]
        among_bnr = among_bnr & gather_tokens(centre_bn, kept.index_br)[:, None]
        own_bnr = centre_bn[..., None] & (frame_n[:, None] == frame_br[:, None])
        may_bnr = among_bnr & ~own_bnr & (~stays_bn | centre_bn)[..., None]
        alike_bnr = cosine(x_bnd, gather_tokens(x_bnd, kept.index_br)).masked_fill(~may_bnr, -torch.inf)
        index_bnr = frame_br[:, None].expand_as(alike_bnr)
        best_bnt = alike_bnr.new_full((*alike_bnr.shape[:2], frames), -torch.inf)
        best_bnt = best_bnt.scatter_reduce(2, index_bnr, alike_bnr, "amax")
        number_r = torch.arange(alike_bnr.shape[2], device=x_bnd.device)
        line_bnr = torch.where(may_bnr & (alike_bnr == best_bnt.gather(2, index_bnr)), number_r, len(number_r))
        chosen_bnt = torch.full_like(best_bnt, len(number_r), dtype=torch.long)
        chosen_bnt = chosen_bnt.scatter_reduce(2, index_bnr, line_bnr, "amin")  # the first of equals
        joins_bnr = (chosen_bnt.gather(2, index_bnr) == number_r).to(kept.x_brd.dtype)
        goes_bnr = joins_bnr * (~stays_bn)[..., None] / joins_bnr.sum(-1, keepdim=True).clamp_min(1)
    return _averaged(rule, kept, weighted_sums(joins_bnr, x_bnd), joins_bnr.sum(1), goes_bnr.sum(1))


def _averaged(rule: Segments, kept: Kept, sum_brd: Tensor, many_br: Tensor, size_br: Tensor) -> Kept:
    if rule.own is None:
        x_brd = (kept.x_brd + sum_brd) / (1 + many_br)[..., None]
    else:
        mixed_brd = rule.own * kept.x_brd + (1 - rule.own) * sum_brd / many_br.clamp_min(1)[..., None]
        x_brd = torch.where((many_br > 0)[..., None], mixed_brd, kept.x_brd)
    return Kept(kept.index_br, x_brd, kept.size_br + size_br)


def _rank(value_btp: Tensor, member_btp: Tensor) -> Tensor:
    """Of each member, how many of its frame have a larger value, of equals the earlier."""
    order_btp = value_btp.masked_fill(~member_btp, -torch.inf).sort(dim=-1, descending=True, stable=True).indices
    # a member may be worth as little as those that are none: members first
    order_btp = order_btp.gather(
        -1, member_btp.gather(-1, order_btp).long().sort(dim=-1, descending=True, stable=True).indices
    )
    place_btp = torch.arange(value_btp.shape[-1], device=value_btp.device).expand_as(order_btp)
    return torch.empty_like(order_btp).scatter(-1, order_btp, place_btp)


def _of_segment(value_bt: Tensor, segment_bt: Tensor) -> Tensor:
    """The sum over a frame's segment, for each frame (b, t)."""
    return torch.zeros_like(value_bt).scatter_add(1, segment_bt, value_bt).gather(1, segment_bt)


def _to_end(segment_bt: Tensor) -> Tensor:
    """How many frames of its segment follow each (b, t)."""
    frame_t = torch.arange(segment_bt.shape[1], device=segment_bt.device).expand_as(segment_bt)
    last_bs = torch.zeros_like(segment_bt).scatter_reduce(1, segment_bt, frame_t, "amax")
    return last_bs.gather(1, segment_bt) - frame_t
