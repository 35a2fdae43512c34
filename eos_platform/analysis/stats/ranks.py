"""Mean ranks over many comparisons, and how far two must be apart (Friedman's test, Nemenyi's critical difference).

Source: Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7, 2006. A block is one
comparison: a model, a task and a ratio. Ratios of one model are not independent, so that a difference counts for less
than it says where blocks are few models at many ratios.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from eos_platform.common.errors import EosError

Blocks = Mapping[Any, Mapping[str, float | None]]  # by whatever names a block
Missing = Literal["exclude", "last"]
SAME = 1e-9  # accuracies that differ by rounding alone are ties


@dataclass(frozen=True)
class Ranking:
    """Mean ranks, the best first.

    Attributes:
        mean_rank: of each method that is ranked (1: best in every block).
        wins: blocks in which it is best, a tie counting for each.
        blocks: how many.
        p_value: of Friedman's test that all are alike; nan where fewer than two blocks or methods are.
        critical_difference: Nemenyi's: mean ranks less than this apart do not differ significantly; nan likewise.
        partial: methods that miss some block (not ranked, or last there): in how many blocks they are, and their
            mean relative rank in those (0: best of those present, 1: worst).
    """

    mean_rank: dict[str, float]
    wins: dict[str, int]
    blocks: int
    p_value: float
    critical_difference: float
    partial: dict[str, tuple[int, float]]

    @property
    def cliques(self) -> list[tuple[str, ...]]:
        """The largest runs of methods, in order, that do not differ significantly: what the bars of a figure join."""
        names, found = list(self.mean_rank), list[tuple[str, ...]]()
        for start, name in enumerate(names):
            reach = [other for other in names[start:] if self._near(name, other)]
            if len(reach) > 1 and not (found and set(reach) <= set(found[-1])):
                found.append(tuple(reach))
        return found

    def _near(self, one: str, other: str) -> bool:
        return abs(self.mean_rank[one] - self.mean_rank[other]) < self.critical_difference


def rank_methods(blocks: Blocks, missing: Missing = "exclude", level: float = 0.95) -> Ranking:
    """Rank methods by their scores (larger is better; ties share the mean of their ranks) in every block.

    Args:
        blocks: scores of the methods in each block; None or absent: it has none there.
        missing: ``exclude``: a method without a score in some block is not ranked but listed apart; ``last``: it shares
            the last ranks of that block.
        level: of confidence of the critical difference.

    Raises:
        EosError: no block, or no method with a score in every block.
    """
    if not blocks:
        raise EosError("no comparison to rank methods over")
    names = list(dict.fromkeys(name for block in blocks.values() for name in block))
    value = np.array([[_number(block.get(name)) for name in names] for block in blocks.values()])
    there = ~np.isnan(value)
    ranked = there.all(0) if missing == "exclude" else there.any(0)
    if not ranked.any():
        raise EosError("no method has a score in every comparison; rank those without as last, or leave some out")
    rank = _ranks(np.where(there, value, -np.inf)[:, ranked])
    mean = rank.mean(0)
    chosen = [name for name, is_ranked in zip(names, ranked, strict=True) if is_ranked]
    best = rank == rank.min(1, keepdims=True)
    order = sorted(range(len(chosen)), key=lambda i: (mean[i], chosen[i]))
    partial = {
        name: (int(there[:, i].sum()), _relative(value, there, i))
        for i, name in enumerate(names)
        if not there[:, i].all() and there[:, i].any()
    }
    return Ranking(
        {chosen[i]: float(mean[i]) for i in order},
        {chosen[i]: int(best[:, i].sum()) for i in order},
        len(blocks),
        friedman(rank),
        critical_difference(len(chosen), len(blocks), level),
        dict(sorted(partial.items(), key=lambda item: item[1][1])),
    )


def critical_difference(methods: int, blocks: int, level: float = 0.95) -> float:
    """Nemenyi's: q sqrt(k (k + 1) / 6 N), q being the studentised range of k groups over sqrt(2)."""
    if methods < 2 or blocks < 2:
        return math.nan
    q = float(stats.studentized_range.ppf(level, methods, np.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * blocks))


def friedman(rank_bk: np.ndarray) -> float:
    """p of Friedman's test, corrected for ties, from the ranks of each block."""
    blocks, methods = rank_bk.shape
    if blocks < 2 or methods < 2:
        return math.nan
    spread = float(((rank_bk - (methods + 1) / 2) ** 2).sum())
    if spread == 0:  # all tie everywhere
        return 1.0
    statistic = (methods - 1) * blocks**2 * float(((rank_bk.mean(0) - (methods + 1) / 2) ** 2).sum()) / spread
    return float(stats.chi2.sf(statistic, methods - 1))


def _ranks(value_bk: np.ndarray) -> np.ndarray:
    """1 for the largest; of ties the mean."""
    rounded = np.where(np.isfinite(value_bk), np.round(value_bk / SAME) * SAME, value_bk)
    return stats.rankdata(-rounded, axis=1)


def _relative(value: np.ndarray, there: np.ndarray, column: int) -> float:
    """Mean over its blocks of (rank - 1) / (methods there - 1)."""
    shares = []
    for row, present in zip(value, there, strict=True):
        if present[column]:
            rank = _ranks(row[None, present])[0][present[:column].sum()]
            shares.append((rank - 1) / max(1, present.sum() - 1))
    return float(np.mean(shares))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
