"""Quotas: so many tokens of each group of the grid stay first, whatever others score.

Legend: b batch, n tokens, g groups.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from eos_platform.operators.grid import Grid, cells_of, frames_of
from eos_platform.operators.grid_tables import window_table
from eos_platform.operators.rules import Quota
from eos_platform.operators.selectors.survivors import component_groups, survivor_quotas


@torch.no_grad()
def quota_levels(
    rule: Quota,
    score_bn: Tensor,
    raw_bn: Tensor | None,
    origin_bn: Tensor,
    grid: Grid,
    count: int | Tensor,
    present_bn: Tensor | None = None,
    group_bn: Tensor | None = None,
    survives_bn: Tensor | None = None,
) -> Tensor:
    """Of every token (b, n), long: 2 within its group's quota, 1 within the cap, 0 beyond it or not there.

    Args:
        score_bn: ranks tokens within a group.
        raw_bn: the features as they are, of whose mean a group's share is made; None: not asked for.
        origin_bn: raster index of each token in the original ``grid``.
        count: how many are to stay; may live on the device.
        present_bn: bool, which tokens are there at all.
        group_bn: which group each is of; default: as its place says.
        survives_bn: bool, which tokens nobody bars, where quotas go by them.
    """
    b, n = score_bn.shape
    groups = _many(rule, grid)
    if group_bn is None:
        group_bn = groups_of(rule, origin_bn, grid)
    there_bn = torch.ones_like(origin_bn) if present_bn is None else present_bn.long()
    order_bn = score_bn.masked_fill(there_bn == 0, -torch.inf).sort(dim=-1, descending=True, stable=True).indices
    # rank within its group: how many of the group come before it in the order
    sorted_group_bn = group_bn.gather(1, order_bn)
    place_bn = torch.arange(n, device=order_bn.device).expand(b, n)
    by_group_bn = sorted_group_bn.sort(dim=-1, stable=True).indices
    size_bg = there_bn.new_zeros(b, groups).scatter_add(1, group_bn, torch.ones_like(group_bn))
    first_bg = size_bg.cumsum(-1) - size_bg
    rank_sorted_bn = torch.empty_like(place_bn).scatter(1, by_group_bn, place_bn)
    rank_sorted_bn = rank_sorted_bn - first_bg.gather(1, sorted_group_bn)
    rank_bn = torch.empty_like(place_bn).scatter(1, order_bn, rank_sorted_bn)
    if survives_bn is not None and rule.share == "survivors":
        quota_bg = survivor_quotas(rule, group_bn, survives_bn, there_bn, groups, count)
    else:
        quota_bg = _quotas(rule, raw_bn, group_bn, there_bn, groups, count)
    cap = n if rule.cap is None or rule.share == "survivors" else rule.cap
    within_cap_bn = rank_bn < cap
    level_bn = within_cap_bn.long() + (within_cap_bn & (rank_bn < quota_bg.gather(1, group_bn)))
    return level_bn * there_bn


def groups_of(
    rule: Quota,
    origin_bn: Tensor,
    grid: Grid,
    compared_bne: Tensor | None = None,
    present_bn: Tensor | None = None,
) -> Tensor:
    """Which group each token is of (b, n), long.

    Args:
        origin_bn: raster index of each token in the original ``grid``.
        compared_bne: what tokens are compared by, whose components may be the groups.
        present_bn: bool, which tokens are there at all.
    """
    groups = _many(rule, grid)
    if rule.kind == "components":
        assert compared_bne is not None, "a quota of components is of the selector 'suppress', which compares"
        return component_groups(compared_bne, groups, present_bn)
    if rule.kind == "windows":
        return window_table(grid, groups, origin_bn.device)[origin_bn]
    return origin_bn * groups // cells_of(grid)  # of a film too: frame by frame


def quota_order(
    rule: Quota,
    score_bn: Tensor,
    raw_bn: Tensor | None,
    origin_bn: Tensor,
    grid: Grid,
    count: int,
    present_bn: Tensor | None = None,
    group_bn: Tensor | None = None,
    survives_bn: Tensor | None = None,
) -> Tensor:
    """All tokens (b, n), the first to stay leading: those within quotas, those within caps, the others; in each the
    best score first. Arguments: see ``quota_levels``."""
    level_bn = quota_levels(rule, score_bn, raw_bn, origin_bn, grid, count, present_bn, group_bn, survives_bn)
    order_bn = score_bn.sort(dim=-1, descending=True, stable=True).indices
    by_level_bn = level_bn.gather(1, order_bn).sort(dim=-1, descending=True, stable=True).indices
    return order_bn.gather(1, by_level_bn)


def _many(rule: Quota, grid: Grid) -> int:
    """How many groups there are."""
    return frames_of(grid) if rule.groups is None else min(rule.groups, cells_of(grid))


def _quotas(
    rule: Quota, raw_bn: Tensor | None, group_bn: Tensor, there_bn: Tensor, groups: int, count: int | Tensor
) -> Tensor:
    """How many of each group are to stay (b, g)."""
    if rule.share == "none":
        return group_bn.new_zeros(len(group_bn), groups)
    if rule.share == "listed":
        listed_g = _listed(rule.weights, groups, group_bn.device)
        weight_bg = listed_g.expand(len(group_bn), -1)
    elif rule.share == "equal" or raw_bn is None:
        weight_bg = torch.ones(len(group_bn), groups, device=group_bn.device)
    else:
        weight_bg = raw_bn.new_zeros(len(group_bn), groups).scatter_add(1, group_bn, raw_bn * there_bn)
        many_bg = raw_bn.new_zeros(len(group_bn), groups).scatter_add(1, group_bn, there_bn.to(raw_bn.dtype))
        weight_bg = weight_bg / many_bg.clamp_min(1)
        if rule.share == "softmax":
            degree_bg = (weight_bg / rule.temperature).masked_fill(many_bg == 0, -torch.inf).softmax(-1)
            weight_bg = (1 + degree_bg - degree_bg.mean(-1, keepdim=True)) * (many_bg > 0)
    return apportioned(weight_bg, count)


def apportioned(weight_bg: Tensor, count: int | Tensor) -> Tensor:
    """``count`` shared out among groups in proportion to their weights (b, g), long: rounded down, what is left going
    one each to the largest shares, of equals the first; evenly where no group has a weight."""
    groups = weight_bg.shape[1]
    total_b1 = weight_bg.sum(-1, keepdim=True)
    share_bg = torch.where(total_b1 > 0, weight_bg / torch.where(total_b1 > 0, total_b1, 1.0), 1 / groups)
    quota_bg = (share_bg * count + ROUNDING).floor().long()
    missing_b1 = count - quota_bg.sum(-1, keepdim=True)
    largest_bg = share_bg.sort(dim=-1, descending=True, stable=True).indices
    place_bg = torch.arange(groups, device=weight_bg.device).expand_as(largest_bg)
    rank_bg = torch.empty_like(largest_bg).scatter(1, largest_bg, place_bg)
    return quota_bg + (rank_bg < missing_b1)


@lru_cache(maxsize=64)
def _listed(weights: tuple[float, ...], groups: int, device: torch.device) -> Tensor:
    """The weight of each group (g,), over and over."""
    with torch.inference_mode(False):  # cached, see grid_tables.py
        return torch.tensor([weights[group % len(weights)] for group in range(groups)], device=device)


ROUNDING = 1e-5  # shares of a count that are whole but for rounding
