"""How sure an accuracy is, from the questions it was measured on.

Answers are right or wrong (arrays of booleans, or of zeros and ones), or worth shares of 1; what is asked of the former
has a form of its own, the latter are resampled, with a seed.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

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


def is_binary(scores: ArrayLike) -> bool:
    """Whether all answers are right or wrong, and nothing between."""
    return bool(np.isin(np.asarray(scores), (0, 1)).all())


def interval(scores: ArrayLike, level: float = 0.95, samples: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """Interval of a mean score: Wilson's where answers are right or wrong, else of a percentile bootstrap.

    Raises:
        EosError: ``level`` is not between 0 and 1.
    """
    if is_binary(scores):
        return wilson(scores, level)
    return _percentiles(np.asarray(scores, dtype=float), _checked(level), samples, seed)


def _percentiles(values: NDArray[np.float64], level: float, samples: int, seed: int) -> tuple[float, float]:
    """Percentile bootstrap of the mean of ``values``."""
    rng, n = np.random.default_rng(seed), len(values)
    at_once = max(1, min(samples, 4_000_000 // n))
    means = [values[rng.integers(0, n, (at_once, n))].mean(1) for _ in range(math.ceil(samples / at_once))]
    low, high = np.quantile(np.concatenate(means)[:samples], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def permutation(scores_a: ArrayLike, scores_b: ArrayLike, samples: int = 10_000, seed: int = 0) -> float:
    """Paired permutation test: the two-sided p of so large a difference of means where signs are drawn at random.

    Raises:
        EosError: the two were not asked equally many questions.
    """
    gap = _paired(scores_a, scores_b)
    gap = gap[gap != 0]
    if gap.size == 0:
        return 1.0
    rng, observed, reached = np.random.default_rng(seed), abs(float(gap.sum())), 1
    at_once = max(1, min(samples, 4_000_000 // gap.size))
    left = samples
    while left > 0:
        signs = rng.integers(0, 2, (min(at_once, left), gap.size)) * 2 - 1
        reached += int(np.sum(np.abs(signs @ gap) >= observed * (1 - 1e-12)))
        left -= len(signs)
    return reached / (samples + 1)


def _paired(scores_a: ArrayLike, scores_b: ArrayLike) -> NDArray[np.float64]:
    a, b = np.asarray(scores_a, dtype=float), np.asarray(scores_b, dtype=float)
    if a.shape != b.shape or a.ndim != 1:
        raise EosError(f"a paired difference needs the same questions twice, got {a.size} and {b.size}")
    return a - b


def paired_difference(
    correct_a: ArrayLike, correct_b: ArrayLike, level: float = 0.95, samples: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Accuracy of ``a`` minus that of ``b`` on the same questions: (difference, low, high).

    Percentile bootstrap over questions. Far tighter than comparing two intervals, because both are right or wrong on
    mostly the same questions.

    Raises:
        EosError: the two were not asked equally many questions, or none; or a bad ``level`` or ``samples``.
    """
    if not (is_binary(correct_a) and is_binary(correct_b)):
        gap = _paired(correct_a, correct_b)
        if samples < 1:
            raise EosError(f"samples must be at least 1, got {samples}")
        return float(gap.mean()), *_percentiles(gap, _checked(level), samples, seed)
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


def unpaired_difference(
    share_a: float, questions_a: int, share_b: float, questions_b: int, level: float = 0.95
) -> tuple[float, float, float, float]:
    """Accuracy of ``a`` minus that of ``b`` where only shares are known: (difference, low, high, two-sided p).

    Newcombe's interval (1998, method 10) of two Wilson intervals, and the pooled z test, as if the two had been asked
    other questions. Where both were asked the same ones, ``paired_difference`` of the single answers is tighter.

    Raises:
        EosError: no question, or a bad ``level``.
    """
    if min(questions_a, questions_b) < 1:
        raise EosError("a difference needs at least one question of each")
    z = NormalDist().inv_cdf((1 + _checked(level)) / 2)
    (low_a, high_a), (low_b, high_b) = (
        _wilson(share, count, z) for share, count in ((share_a, questions_a), (share_b, questions_b))
    )
    gap = share_a - share_b
    low = gap - math.hypot(share_a - low_a, high_b - share_b)
    high = gap + math.hypot(high_a - share_a, share_b - low_b)
    pooled = (share_a * questions_a + share_b * questions_b) / (questions_a + questions_b)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / questions_a + 1 / questions_b))
    return gap, low, high, 2 * (1 - NormalDist().cdf(abs(gap) / spread)) if spread else 1.0


def _wilson(share: float, count: int, z: float) -> tuple[float, float]:
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return middle - half, middle + half


def _checked(level: float) -> float:
    if not 0.0 < level < 1.0:
        raise EosError(f"level must be between 0 and 1, got {level}")
    return level
