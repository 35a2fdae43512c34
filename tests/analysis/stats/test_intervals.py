"""Intervals against published values, coverage by simulation, and the pairing that makes differences tight."""

import math

import numpy as np
import pytest

from eos_platform.analysis.comparison.differences import mcnemar, paired_p
from eos_platform.analysis.stats.bitpack import pack, unpack
from eos_platform.analysis.stats.intervals import interval, paired_difference, permutation, unpaired_difference, wilson
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


def test_scores_that_are_shares_are_resampled() -> None:
    rng = np.random.default_rng(1)
    binary = rng.random(200) < 0.7
    assert interval(binary) == interval(binary.astype(float)) == wilson(binary)
    scores = rng.random(400) * 0.5
    low, high = interval(scores)
    half = 1.96 * scores.std() / 20
    assert (low, high) == pytest.approx((scores.mean() - half, scores.mean() + half), abs=2e-3)
    assert interval(scores) == (low, high)  # seeded
    gap, low, high = paired_difference(scores + 0.1, scores)
    assert gap == pytest.approx(0.1)
    assert (low, high) == pytest.approx((0.1, 0.1))
    assert paired_difference(binary, ~binary) == paired_difference(binary.astype(float), (~binary).astype(float))
    with pytest.raises(EosError, match="the same questions twice"):
        paired_difference(scores, scores[:3])


def test_permutation_tests_agree_with_mcnemar_where_both_apply() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.random(60) < 0.7, rng.random(60) < 0.5
    assert permutation(a, b) == pytest.approx(mcnemar(a, b), abs=0.02)
    assert paired_p(a, b) == mcnemar(a, b)
    shares = rng.random(60)
    assert permutation(shares, shares) == 1.0
    better = np.minimum(1.0, shares + rng.random(60) * 0.3)
    assert paired_p(better, shares) == permutation(better, shares) < 0.001
    with pytest.raises(EosError, match="the same questions twice"):
        permutation(shares, shares[:3])
    # enumerated: of eight signs, the two extreme ones reach the sum
    assert permutation([0.5, 0.75, 1.0], [0.0, 0.5, 0.25], samples=40_000) == pytest.approx(2 / 8, abs=0.01)


def test_scores_survive_their_packing() -> None:
    rng = np.random.default_rng(3)
    shares, binary = rng.random(33), rng.random(33) < 0.5
    np.testing.assert_allclose(unpack(pack(shares), 33, strict=True), shares, atol=1e-7)
    assert unpack(pack(binary.astype(float)), 33, strict=True).dtype == bool
    assert pack(binary) == pack(binary.astype(float))
    with pytest.raises(ValueError, match="33 scores for 32"):
        unpack(pack(shares), 32, strict=True)
    with pytest.raises(ValueError, match="not from 0 to 1"):
        unpack(pack(shares + 1), 33, strict=True)


@pytest.mark.parametrize(
    ("a", "b", "low", "high"), [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090)]
)
def test_unpaired_differences_are_the_published_ones(a, b, low, high):
    """R. G. Newcombe, Statistics in Medicine 17 (1998) 873, table II, method 10."""
    gap, *ends, p = unpaired_difference(a[0] / a[1], a[1], b[0] / b[1], b[1])
    assert ends == pytest.approx([low, high], abs=5e-5)
    assert gap == pytest.approx(a[0] / a[1] - b[0] / b[1])
    assert p < 0.05
    assert unpaired_difference(0.5, 100, 0.5, 100)[3] == 1.0


def test_intervals_that_are_resampled_are_the_same_every_time():
    shares = np.linspace(0, 1, 37) ** 2
    assert interval(shares) == interval(shares, seed=0)
    assert interval(shares, seed=1) != interval(shares)


def test_one_sample_is_enough_for_a_difference():
    assert paired_difference([1, 1], [0, 0], samples=1) == (1.0, 1.0, 1.0)
    with pytest.raises(EosError, match="at least 1"):
        paired_difference([1, 1], [0, 0], samples=0)


def test_shares_of_one_side_are_no_answers_right_or_wrong():
    difference, low, high = paired_difference([1, 0, 1, 0], [0.5, 0.5, 0.25, 0.75])
    assert difference == 0.0
    assert low < 0 < high
    assert paired_difference([0.5, 1.0], [0.25, 0.75], samples=1) == (0.25, 0.25, 0.25)
    with pytest.raises(EosError, match="same questions twice"):
        paired_difference([1, 0], [0.5])
