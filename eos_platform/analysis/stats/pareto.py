"""Which operators are worth having: non-domination and hypervolume over two or three objectives.

``points`` is a frame with a column for each objective, by its metric; by default ``accuracy`` (more is better, share of
1) and ``compute_ratio`` (less is better). A row with an unknown in any of them is on no front and adds no volume.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eos_platform.objectives import DEFAULT
from eos_platform.protocols import Objective


def pareto_mask(points: pd.DataFrame, objectives: Sequence[Objective] = DEFAULT) -> pd.Series:
    """True, under the frame's own index, for rows that no other row dominates; equal rows stand or fall together.

    A row dominates another when it is no worse in every objective, and better in one.
    """
    first, *others = (_gain(points, one) for one in objectives)
    costs = [-gain for gain in others]
    mask = _of_two(first, costs[0]) if len(costs) == 1 else _of_many(np.stack([-first, *costs], 1))
    return pd.Series(mask, index=points.index, name="pareto")


HELD_OUT, VALIDATION = "held-out", "validation"


def front_of(points: pd.DataFrame, objectives: Sequence[Objective] = DEFAULT) -> pd.Series:
    """True for the operators of a study's front: the searched ones that no other searched one beats.

    The one definition, for every table, page, figure and registry. What was asked held-out questions is held against
    what was, and makes the front as soon as there is any; until then validation results make it. Hand-designed
    operators are shown beside a front, and neither on it nor in its way.

    Args:
        points: with ``family``, and ``measured_on`` where not all were asked the same questions.
    """
    metrics = [one.metric for one in objectives]
    front = pd.Series(False, index=points.index, name="front")
    mine = (points["family"] == "searched") & points[metrics].notna().all(axis=1)
    if "measured_on" in points:
        held_out = mine & (points["measured_on"] == HELD_OUT)
        mine = held_out if held_out.any() else mine
    if mine.any():
        front[mine] = pareto_mask(points.loc[mine, metrics], objectives)
    return front


def _gain(points: pd.DataFrame, objective: Objective) -> NDArray[np.float64]:
    """The values, so that more is better."""
    values: NDArray[np.float64] = points[objective.metric].to_numpy(float, na_value=np.nan)
    return objective.sign * values


def _of_two(gain: NDArray[np.float64], cost: NDArray[np.float64]) -> NDArray[np.bool_]:
    mask = np.zeros(len(gain), dtype=bool)
    best, best_cost = -np.inf, np.nan
    # from cheap to dear, the most accurate of equal cost first: a row stands if it beats all before it, or equals the
    # row that last did. NaN sorts last and beats nothing.
    for row in np.lexsort((-gain, cost)):
        if np.isnan(cost[row]):
            break
        if gain[row] > best:
            best, best_cost = gain[row], cost[row]
        mask[row] = gain[row] == best and cost[row] == best_cost
    return mask


def _of_many(losses_nm: NDArray[np.float64]) -> NDArray[np.bool_]:
    known = ~np.isnan(losses_nm).any(1)
    inside_nm = losses_nm[known]
    mask = np.zeros(len(losses_nm), dtype=bool)
    mask[known] = [
        not ((inside_nm <= loss_m).all(1) & (inside_nm < loss_m).any(1)).any() for loss_m in inside_nm
    ]  # a row at a time: of thousands all pairs would take gigabytes
    return mask


def worst_of(points: pd.DataFrame, objectives: Sequence[Objective] = DEFAULT) -> dict[str, float]:
    """The values hypervolume counts from: an objective's own, else the worst among ``points``."""
    worst = {}
    for one in objectives:
        gains = _gain(points, one)
        known = gains[np.isfinite(gains)]
        own = one.worst if one.worst is not None else one.sign * float(known.min()) if len(known) else np.nan
        worst[one.metric] = own
    return worst


def hypervolume(
    points: pd.DataFrame,
    worst: Mapping[str, float] | None = None,
    objectives: Sequence[Objective] = DEFAULT,
) -> float:
    """Area or volume dominated by ``points`` and no worse than ``worst``; more is better.

    By default it counts from accuracy 0 and compute ratio 1: a model as accurate as 1 for no compute would score 1. A
    row beyond ``worst`` in any objective adds nothing. Exact, for two or three objectives, in their own units.

    Args:
        worst: by metric; what is not in it is as ``worst_of`` the points.
    """
    limits = {**worst_of(points, objectives), **(worst or {})}
    front = points[pareto_mask(points, objectives)].drop_duplicates([one.metric for one in objectives])
    for one in objectives:
        gain, least = _gain(front, one), one.sign * limits[one.metric]
        front = front[gain > least]
    first, second, *third = objectives
    room_n = _gain(front, first) - first.sign * limits[first.metric]
    cost_n = -_gain(front, second)
    most = -second.sign * limits[second.metric]
    if not third:
        return _area(room_n, cost_n, most)
    depth_n = -_gain(front, third[0])
    edges = np.append(np.unique(depth_n), -third[0].sign * limits[third[0].metric])
    volume = 0.0
    for near, far in itertools.pairwise(edges):  # slices through the third: all that is there by then
        there = depth_n <= near
        volume += (far - near) * _area(*_staircase(room_n[there], cost_n[there]), most)
    return float(volume)


def _staircase(room_n: NDArray[np.float64], cost_n: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """The points of a slice that no other of it dominates, each once."""
    order = np.lexsort((-room_n, cost_n))
    room_n, cost_n = room_n[order], cost_n[order]
    before_n = np.concatenate([[-np.inf], np.maximum.accumulate(room_n)[:-1]])
    return room_n[room_n > before_n], cost_n[room_n > before_n]


def _area(room_n: NDArray[np.float64], cost_n: NDArray[np.float64], most: float) -> float:
    """Under a staircase: what is gained over the worst, by rising cost, up to the most."""
    order = np.argsort(cost_n, kind="stable")
    edges = np.append(cost_n[order], most)
    return float(np.sum(np.diff(edges) * room_n[order]))
