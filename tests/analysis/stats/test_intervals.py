"""Intervals against published values, coverage by simulation, and the pairing that makes differences tight."""

import math

import numpy as np
import pytest

from eos_platform.analysis.stats.intervals import paired_difference, wilson
from eos_platform.common.errors import EosError


def answers(right, n):
    return np.arange(n) < right


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (29, 29, 0.8830, 1.0)],
)
def test_wilson_gives_the_published_intervals(right, n, low, high):
    """The four examples of R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    assert wilson(answers(right, n)) == pytest.approx((low, high), abs=5e-5)


def test_wilson_covers_as_often_as_it_says():
    """Averaged over accuracies, because for any one of them the count of right answers comes in steps."""
    rng = np.random.default_rng(0)
    truths = rng.uniform(0.05, 0.95, 4000)
    covered = [low <= truth <= high for truth in truths for low, high in [wilson(rng.random(200) < truth)]]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.01)


def test_wilson_holds_the_accuracy_and_widens_with_the_level():
    for right in range(21):
        low, high = wilson(answers(right, 20))
        wider = wilson(answers(right, 20), level=0.99)
        assert 0.0 <= wider[0] <= low <= right / 20 <= high <= wider[1] <= 1.0


def test_no_questions_say_nothing():
    assert all(math.isnan(bound) for bound in wilson([]))


def test_paired_difference_agrees_with_the_normal_approximation():
    rng = np.random.default_rng(1)
    a = rng.random(4000) < 0.9
    b = np.where(rng.random(4000) < 0.1, ~a, a)
    difference, low, high = paired_difference(a, b)
    outcome = a.astype(float) - b
    spread = 1.96 * outcome.std() / math.sqrt(4000)
    assert difference == pytest.approx(a.mean() - b.mean())
    assert (low, high) == pytest.approx((difference - spread, difference + spread), abs=5e-4)
    unpaired = 1.96 * math.sqrt((a.var() + b.var()) / 4000)
    assert high - low < 1.6 * unpaired


def test_paired_difference_is_signed_exact_at_the_ends_and_repeatable():
    a, b = answers(100, 100), answers(0, 100)
    assert paired_difference(a, b) == (1.0, 1.0, 1.0)
    assert paired_difference(b, a) == (-1.0, -1.0, -1.0)
    assert paired_difference(a, a) == (0.0, 0.0, 0.0)
    half = answers(50, 100)
    assert paired_difference(a, half, seed=3) == paired_difference(a, half, seed=3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wilson([True], level=1.0), "level must be between 0 and 1, got 1.0"),
        (lambda: paired_difference([True], [True, False]), "the same questions twice, got 1 and 2"),
        (lambda: paired_difference([], []), "at least one question"),
        (lambda: paired_difference([True], [True], samples=0), "samples must be at least 1"),
        (lambda: paired_difference([True], [True], level=-1), "level must be between"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(EosError, match=message):
        call()
