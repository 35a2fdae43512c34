"""What the tokens of a film say across its frames: how much a place changed, how unlike the film and its frame a token
is.

A picture is a film of one frame.

Legend: b batch, n tokens present, t frames, d width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eos_platform.operators.grid import Grid, cells_of, frames_of
from eos_platform.operators.site import FILM_FEATURES as FILM_FEATURES
from eos_platform.operators.tokens import at_least_float32, unit

NEW = 2.01  # of a token with nothing before it at its place: more than any change, which is 2 at most
SCALES = tuple(2.0**k for k in range(-3, 2))  # of the kernels
QUIET = 0.5  # share of the channels, those of least variance, that the kernels are made of


def film_feature(name: str, x_bnd: Tensor, origin_bn: Tensor, grid: Grid, presence_bn: Tensor | None = None) -> Tensor:
    """A feature of each token (b, n), by its name.

    Args:
        name: one of ``FILM_FEATURES``: ``film_distance`` is minus the likeness to the film's mean, ``film_uniqueness``
            minus that and the likeness to the frame's.
        x_bnd: the tokens.
        origin_bn: index of each in the whole film, frame by frame in raster order.
        grid: of the film.
        presence_bn: how much of each token is there; default: all of it.
    """
    frame_bn = origin_bn // (cells_of(grid) // frames_of(grid))
    place_bn = origin_bn - frame_bn * (cells_of(grid) // frames_of(grid))
    there_bn = torch.ones_like(origin_bn, dtype=torch.bool) if presence_bn is None else presence_bn > 0.5
    if name == "change":
        return change(x_bnd, frame_bn, place_bn, there_bn, frames_of(grid))
    if name == "paired_change":
        return paired_change(x_bnd, origin_bn, frame_bn, there_bn, grid)
    film_bn, own_bn = kernels(x_bnd, frame_bn, there_bn, frames_of(grid))
    return -film_bn if name == "film_distance" else -(film_bn + own_bn)


def change(x_bnd: Tensor, frame_bn: Tensor, place_bn: Tensor, there_bn: Tensor, frames: int) -> Tensor:
    """1 - cosine to the token at the same place of the latest earlier frame that has one; ``NEW`` where none has (EVS,
    arXiv 2510.14624)."""
    unit_bnd = unit(x_bnd)
    order_bn = (place_bn * frames + frame_bn).sort(dim=-1, stable=True).indices  # a place's tokens, in time
    line_bn = torch.arange(order_bn.shape[1], device=order_bn.device).expand_as(order_bn)
    # the latest of those before that are there
    latest_bn = torch.where(there_bn.gather(1, order_bn), line_bn, -1).cummax(-1).values
    before_bn = torch.cat([torch.full_like(latest_bn[:, :1], -1), latest_bn[:, :-1]], 1)
    earlier_bn = order_bn.gather(1, before_bn.clamp_min(0))
    same_bn = (before_bn >= 0) & (place_bn.gather(1, earlier_bn) == place_bn.gather(1, order_bn))
    return _against(unit_bnd, order_bn, earlier_bn, same_bn)


def paired_change(x_bnd: Tensor, origin_bn: Tensor, frame_bn: Tensor, there_bn: Tensor, grid: Grid) -> Tensor:
    """1 - cosine to the same place of a stated earlier frame: of every odd frame the one before, of frames 2, 6, 10, ..
    two before, of frames 4, 8, .. four before (DyCoke, arXiv 2411.15024); ``NEW`` where it is not there."""
    one = cells_of(grid) // frames_of(grid)
    back_bn = torch.where(frame_bn % 2 == 1, 1, torch.where(frame_bn % 4 == 2, 2, 4))
    whole = origin_bn.new_full((len(origin_bn), cells_of(grid)), -1)
    line_bn = torch.arange(origin_bn.shape[1], device=origin_bn.device).expand_as(origin_bn)
    where_bg = whole.scatter(1, origin_bn, torch.where(there_bn, line_bn, -1))
    wanted_bn = origin_bn - back_bn * one
    earlier_bn = where_bg.gather(1, wanted_bn.clamp_min(0))
    same_bn = (wanted_bn >= 0) & (earlier_bn >= 0)
    return _against(unit(x_bnd), line_bn, earlier_bn.clamp_min(0), same_bn)


def _against(unit_bnd: Tensor, mine_bn: Tensor, earlier_bn: Tensor, same_bn: Tensor) -> Tensor:
    width = unit_bnd.shape[-1]
    mine_bnd = unit_bnd.gather(1, mine_bn[..., None].expand(-1, -1, width))
    earlier_bnd = unit_bnd.gather(1, earlier_bn[..., None].expand(-1, -1, width))
    changed_bn = torch.where(same_bn, 1 - (mine_bnd * earlier_bnd).sum(-1), NEW)
    return torch.zeros_like(changed_bn).scatter(1, mine_bn, changed_bn)


def kernels(x_bnd: Tensor, frame_bn: Tensor, there_bn: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """How like the mean of the film, and of its own frame, each token is (b, n): sums of five Gaussian kernels of the
    squared distance, over unit vectors of the half of the channels that vary least (VidCom2, arXiv 2505.14454)."""
    x_bnd = at_least_float32(x_bnd)
    there_bn1 = there_bn[..., None].to(x_bnd.dtype)
    many_b11 = there_bn1.sum(1, keepdim=True).clamp_min(1)
    mean_b1d = (x_bnd * there_bn1).sum(1, keepdim=True) / many_b11
    variance_bd = ((x_bnd - mean_b1d).square() * there_bn1).sum(1)
    quiet_bc = variance_bd.sort(dim=-1, stable=True).indices[:, : max(1, int(QUIET * x_bnd.shape[-1]))]
    unit_bnc = unit(x_bnd.gather(2, quiet_bc[:, None].expand(-1, x_bnd.shape[1], -1)))
    film_b1c = (unit_bnc * there_bn1).sum(1, keepdim=True) / many_b11
    index_bnc = frame_bn[..., None].expand_as(unit_bnc)
    sums_btc = unit_bnc.new_zeros(len(x_bnd), frames, unit_bnc.shape[-1]).scatter_add(
        1, index_bnc, unit_bnc * there_bn1
    )
    held_bt = unit_bnc.new_zeros(len(x_bnd), frames).scatter_add(1, frame_bn, there_bn1[..., 0])
    own_bnc = (sums_btc / held_bt.clamp_min(1)[..., None]).gather(1, index_bnc)
    return _likeness(unit_bnc, film_b1c), _likeness(unit_bnc, own_bnc)


def _likeness(x_bnc: Tensor, centre_bnc: Tensor) -> Tensor:
    distance_bn = (x_bnc - centre_bnc).square().sum(-1)
    return torch.stack([(-distance_bn / (2 * scale)).exp() for scale in SCALES]).sum(0)
