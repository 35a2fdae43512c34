"""Which operators are worth having: non-domination and hypervolume in the plane of compute and accuracy.

``points`` is a frame with columns ``compute_ratio`` (less is better) and ``accuracy`` (more is better, share of 1). A
row with an unknown in either is on no front and adds no volume.
"""

from __future__ import annotations

import numpy as np
import pandas as pd


def pareto_mask(points: pd.DataFrame) -> pd.Series:
    """True, under the frame's own index, for rows that no other row dominates; equal rows stand or fall together.

    A row dominates another when it costs no more, is no less accurate, and is better in one of the two.
    """
    cost = points["compute_ratio"].to_numpy(float, na_value=np.nan)
    gain = points["accuracy"].to_numpy(float, na_value=np.nan)
    mask = np.zeros(len(points), dtype=bool)
    best, best_cost = -np.inf, np.nan
    # from cheap to dear, the most accurate of equal cost first: a row stands if it beats all before it, or equals the
    # row that last did. NaN sorts last and beats nothing.
    for row in np.lexsort((-gain, cost)):
        if np.isnan(cost[row]):
            break
        if gain[row] > best:
            best, best_cost = gain[row], cost[row]
        mask[row] = gain[row] == best and cost[row] == best_cost
    return pd.Series(mask, index=points.index, name="pareto")


def hypervolume(points: pd.DataFrame, reference: tuple[float, float] = (1.0, 0.0)) -> float:
    """Area dominated by ``points`` and no worse than ``reference`` (compute ratio, accuracy); more is better.

    At the default reference a model as accurate as 1 for no compute would score 1. A row beyond the reference in
    either direction adds nothing.
    """
    worst_cost, worst_gain = reference
    front = points[pareto_mask(points)].drop_duplicates(["compute_ratio", "accuracy"])
    front = front[(front["compute_ratio"] < worst_cost) & (front["accuracy"] > worst_gain)]
    front = front.sort_values("compute_ratio")
    edges = np.append(front["compute_ratio"].to_numpy(float), worst_cost)
    return float(np.sum(np.diff(edges) * (front["accuracy"].to_numpy(float) - worst_gain)))
