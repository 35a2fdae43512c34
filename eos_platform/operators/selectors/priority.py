"""Which tokens stay, by a priority of which the ``count`` highest stay (ties: lower index).

The same code serves the deployed form (``presence_bn`` None, the count an int) and the relaxed one (all tokens of the
grid, of which those with presence above one half count as there, the count a tensor that is never read by the host).

Legend: b batch, n tokens, d width.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from eos_platform.operators.grid import Grid, cells_of
from eos_platform.operators.grid_tables import anchor_mask, anchor_masks
from eos_platform.operators.tokens import unit

INF = float("inf")


@torch.no_grad()
def priority(
    selector: str,
    x_bnd: Tensor,
    score_bn: Tensor | None,
    count: int | Tensor,
    grid: Grid,
    seed: int,
    presence_bn: Tensor | None = None,
) -> Tensor:
    """Priority (b, n) of each token; those absent have -inf."""
    b, n, _ = x_bnd.shape
    present_bn = torch.ones(b, n, device=x_bnd.device) > 0 if presence_bn is None else presence_bn > 0.5
    if selector == "score":
        assert score_bn is not None
        value_bn = score_bn
    elif selector == "grid":
        value_bn = _spaced(present_bn, count, grid)
    elif selector == "alternate":
        value_bn = _alternate(x_bnd, present_bn) if presence_bn is not None else alternate(crossing(x_bnd))
    elif selector == "farthest":
        value_bn = _farthest(x_bnd, present_bn, count if isinstance(count, int) else n)
    elif selector == "random":
        value_bn = _shuffle(seed, n, x_bnd.device)[_position(present_bn).clamp_min(0)]
    elif selector == "drop_all":  # nobody stays, so the order does not matter
        value_bn = torch.zeros(b, n, device=x_bnd.device)
    else:
        raise ValueError(f"selector '{selector}' is no priority")
    return value_bn.masked_fill(~present_bn, -INF)


def first(priority_bn: Tensor, count: int) -> Tensor:
    """Indices of the ``count`` highest (b, count), best first."""
    return priority_bn.sort(dim=-1, descending=True, stable=True).indices[:, :count]


def stay(priority_bn: Tensor, count: Tensor) -> Tensor:
    """Whether each token stays (b, n), for a count that lives on the device."""
    order_bn = priority_bn.sort(dim=-1, descending=True, stable=True).indices
    places_bn = torch.arange(order_bn.shape[-1], device=order_bn.device).expand_as(order_bn)
    rank_bn = torch.empty_like(order_bn).scatter_(1, order_bn, places_bn)
    return (rank_bn < count) & (priority_bn > -INF)


def _position(present_bn: Tensor) -> Tensor:
    """Place of each token among those present."""
    return present_bn.long().cumsum(-1) - 1


def _spaced(present_bn: Tensor, count: int | Tensor, grid: Grid) -> Tensor:
    """Window anchors while the whole grid is there, even spacing afterwards; 1 for those, 0 for the rest."""
    n = present_bn.shape[-1]
    whole = n == cells_of(grid)
    if whole and isinstance(count, int):
        return anchor_mask(grid, count, present_bn.device).expand_as(present_bn).float()
    there_b1 = present_bn.sum(-1, keepdim=True).clamp_min(1)
    place_bn = _position(present_bn)
    k = max(count, 1) if isinstance(count, int) else count.clamp_min(1)
    # pick j stands at floor((2j + 1) there / 2k); j_bn is the first pick at or after this place
    j_bn = (-((there_b1 - 2 * k * place_bn) // (2 * there_b1))).clamp_min(0)
    spaced_bn = (j_bn < k) & ((2 * j_bn + 1) * there_b1 // (2 * k) == place_bn)
    if whole and isinstance(k, Tensor):
        anchors_n = anchor_masks(grid, present_bn.device).index_select(0, k.clamp_max(n).reshape(1))[0]
        spaced_bn = torch.where(there_b1 == n, anchors_n, spaced_bn)
    return spaced_bn.float()


def crossing(x_bnd: Tensor) -> Tensor:
    """Cosine of each token at an even place with each at an odd one (b, i, j)."""
    unit_bnd = unit(x_bnd)
    return unit_bnd[:, 0::2] @ unit_bnd[:, 1::2].mT


def alternate(cosine_bij: Tensor) -> Tensor:
    """Priority of all: odd places first, then even ones, the least similar to any odd one leading."""
    b, evens, odds = cosine_bij.shape
    value_bn = cosine_bij.new_full((b, evens + odds), 3.0)
    if odds:
        value_bn[:, 0::2] = -cosine_bij.amax(-1)
    return value_bn


def protected(cosine_bij: Tensor, score_bn: Tensor, protect: float | Tensor) -> Tensor:
    """As ``alternate``, the score joining in: odd places first, then even ones, ranked by how unlike any odd one they
    are, of unit spread among them, plus ``protect`` times their score. Differentiable (b, n)."""
    b, evens, odds = cosine_bij.shape
    alone_bi = -cosine_bij.amax(-1) if odds else cosine_bij.new_zeros(b, evens)
    spread_b1 = alone_bi.std(-1, keepdim=True, correction=0).clamp_min(1e-6)
    line_bi = (alone_bi - alone_bi.mean(-1, keepdim=True)) / spread_b1 + protect * score_bn[:, 0::2]
    value_bn = line_bi.detach().amax(-1, keepdim=True).expand(b, evens + odds) + 1.0
    value_bn[:, 0::2] = line_bi
    return value_bn


def _alternate(x_bnd: Tensor, present_bn: Tensor) -> Tensor:
    """``alternate`` where some tokens are absent."""
    unit_bnd = unit(x_bnd)
    odd_bn = present_bn & (_position(present_bn) % 2 == 1)
    cosine_bnn = (unit_bnd @ unit_bnd.mT).masked_fill(~odd_bn[:, None], -2.0)
    return (-cosine_bnn.amax(-1)).masked_fill(odd_bn, 3.0)


def _farthest(x_bnd: Tensor, present_bn: Tensor, picks: int) -> Tensor:
    """First the token farthest from its nearest neighbour, then always the one farthest from all picked."""
    unit_bnd = unit(x_bnd)
    cosine_bnn = unit_bnd @ unit_bnd.mT
    distance_bnn = 1 - (cosine_bnn + cosine_bnn.mT) / 2  # symmetric to the bit, so that mutual neighbours do tie
    self_nn = torch.eye(distance_bnn.shape[-1], dtype=torch.bool, device=x_bnd.device)
    gap_bn = distance_bnn.masked_fill(self_nn | ~present_bn[:, None], INF).amin(-1).masked_fill(~present_bn, -INF)
    value_bn = torch.full_like(gap_bn, -INF)
    closest_bn = torch.full_like(gap_bn, INF).masked_fill(~present_bn, -INF)
    for step in range(picks):  # as many rounds as picks is in the nature of the rule
        best_b1, pick_b1 = gap_bn.max(-1, keepdim=True)
        # once none is left (absent tokens fill the grid), index 0 comes up again and must keep its place
        order_b1 = torch.where(best_b1 > -INF, -float(step), value_bn.gather(1, pick_b1))
        value_bn = value_bn.scatter(1, pick_b1, order_b1)
        row_bn = distance_bnn.take_along_dim(pick_b1[..., None], dim=1)[:, 0]
        closest_bn = torch.minimum(closest_bn, row_bn).scatter(1, pick_b1, -INF)
        gap_bn = closest_bn
    return value_bn


@lru_cache(maxsize=64)
def _shuffle(seed: int, n: int, device: torch.device) -> Tensor:
    """One fixed random number a place (n,); the first places have the same ones whatever n."""
    with torch.inference_mode(False):  # cached, see grid.py
        return torch.from_numpy(np.random.default_rng(seed).random(n)).float().to(device)
