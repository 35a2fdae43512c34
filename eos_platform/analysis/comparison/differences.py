"""Searched minus hand-designed on the same questions: how large, how sure, and corrected for asking many times."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from eos_platform.analysis.comparison.points import answers, best_searched
from eos_platform.analysis.stats.intervals import is_binary, paired_difference, permutation
from eos_platform.analysis.stats.pareto import hypervolume
from eos_platform.common.errors import EosError

COLUMNS = (
    "ratio",
    "searched",
    "design",
    "variant",
    "name",
    "difference",
    "low",
    "high",
    "only_searched",
    "only_design",
    "p",
    "p_holm",
)


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike) -> float:
    """McNemar's exact test: the two-sided p of so uneven a split of the questions only one of the two got right.

    Raises:
        EosError: the two were not asked equally many questions.
    """
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape:
        raise EosError(f"a paired test needs the same questions twice, got {a.size} and {b.size}")
    return two_sided(int(np.sum(a & ~b)), int(np.sum(b & ~a)))


def paired_p(scores_a: ArrayLike, scores_b: ArrayLike) -> float:
    """McNemar's where all answers are right or wrong, else that of a permutation test.

    Raises:
        EosError: the two were not asked equally many questions.
    """
    test = mcnemar if is_binary(scores_a) and is_binary(scores_b) else permutation
    return test(scores_a, scores_b)


def two_sided(one: int, other: int) -> float:
    """Probability of a split of ``one + other`` fair coins at least this uneven."""
    total, fewer = one + other, min(one, other)
    logs = [math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) for k in range(fewer + 1)]
    tail = math.fsum(math.exp(value - total * math.log(2)) for value in logs)
    return min(1.0, 2 * tail)


def holm(p: Sequence[float]) -> NDArray[np.float64]:
    """Holm's step-down adjusted p values: below .05 in any of them still means .05 over all of them."""
    values = np.asarray(p, dtype=float)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def differences(points: pd.DataFrame) -> pd.DataFrame:
    """The searched operator chosen for each ratio against every hand-designed one there (``COLUMNS``).

    A positive difference is in favour of the searched one; ``low`` and ``high`` are a paired bootstrap's 95 % interval,
    ``p`` McNemar's (a permutation test's where answers are worth shares), ``p_holm`` corrected over the whole table.
    """
    rows = []
    for ratio in sorted(points["ratio"].dropna().unique(), reverse=True):
        best = best_searched(points, ratio)
        if best is None:
            continue
        right = answers(points, best)
        for label in points.index[(points["family"] == "hand-designed") & (points["ratio"] == ratio)]:
            other = answers(points, label)
            gap, low, high = paired_difference(right, other)
            rows.append(
                {
                    "ratio": ratio,
                    "searched": points.at[best, "name"],
                    **{name: points.at[label, name] for name in ("design", "variant", "name")},
                    "difference": gap,
                    "low": low,
                    "high": high,
                    "only_searched": int(np.sum(right > other)),
                    "only_design": int(np.sum(other > right)),
                    "p": paired_p(right, other),
                }
            )
    frame = pd.DataFrame(rows, columns=list(COLUMNS[:-1]))
    return frame.assign(p_holm=holm(frame["p"].tolist()))


def hypervolumes(points: pd.DataFrame) -> pd.DataFrame:
    """Area under each front (compute ratio up to 1): by family, then by design and variant, largest first in each."""
    rows = []
    for family in ("searched", "hand-designed"):
        mine = points[points["family"] == family]
        if len(mine):
            rows.append((family, "", "", len(mine), hypervolume(mine)))
    designed = points[points["family"] == "hand-designed"]
    single = []
    for design, variant in dict.fromkeys(zip(designed["design"], designed["variant"], strict=True)):
        mine = designed[(designed["design"] == design) & (designed["variant"] == variant)]
        single.append(("hand-designed", str(design), str(variant), len(mine), hypervolume(mine)))
    rows += sorted(single, key=lambda row: -row[-1])
    return pd.DataFrame(rows, columns=["family", "design", "variant", "operators", "hypervolume"])
