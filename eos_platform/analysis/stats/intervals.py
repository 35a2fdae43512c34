"""How sure an accuracy is, from the questions it was measured on (boolean arrays: answered right or not)."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from eos_platform.common.errors import EosError


def wilson(correct: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of an accuracy: sound at few questions and at accuracies near 0 and 1.

    No questions at all say nothing: (nan, nan).

    Raises:
        EosError: ``level`` is not between 0 and 1.
    """
    right = np.asarray(correct, dtype=bool)
    n = right.size
    z = NormalDist().inv_cdf(0.5 + _checked(level) / 2)
    if n == 0:
        return math.nan, math.nan
    share = float(right.mean())
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # the exact interval touches 0 or 1 there; rounding must not put the accuracy outside its own interval
    return min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)


def paired_difference(
    correct_a: ArrayLike, correct_b: ArrayLike, level: float = 0.95, samples: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Accuracy of ``a`` minus that of ``b`` on the same questions: (difference, low, high).

    Percentile bootstrap over questions. Far tighter than comparing two intervals, because both are right or wrong on
    mostly the same questions.

    Raises:
        EosError: the two were not asked equally many questions, or none; or a bad ``level`` or ``samples``.
    """
    right_a, right_b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if right_a.shape != right_b.shape or right_a.ndim != 1:
        raise EosError(f"a paired difference needs the same questions twice, got {right_a.size} and {right_b.size}")
    if right_a.size == 0:
        raise EosError("a paired difference needs at least one question")
    if samples < 1:
        raise EosError(f"samples must be at least 1, got {samples}")
    tail = (1 - _checked(level)) / 2
    n = right_a.size
    only_a, only_b = int(np.sum(right_a & ~right_b)), int(np.sum(right_b & ~right_a))
    # resampling questions is drawing how often each of three outcomes comes up: no n-by-samples array
    draws = np.random.default_rng(seed).multinomial(n, [only_a / n, only_b / n, 1 - (only_a + only_b) / n], samples)
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / n, [tail, 1 - tail])
    return (only_a - only_b) / n, float(low), float(high)


def _checked(level: float) -> float:
    if not 0.0 < level < 1.0:
        raise EosError(f"level must be between 0 and 1, got {level}")
    return level
