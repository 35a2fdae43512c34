"""Fronts against a brute-force oracle, hypervolume against areas added up by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eos_platform.analysis.stats.pareto import hypervolume, pareto_mask, worst_of
from eos_platform.objectives import parse


def frame(*rows):
    return pd.DataFrame(rows, columns=["compute_ratio", "accuracy"], dtype=float)


# a coarse lattice, so that equal costs, equal accuracies and equal rows all come up
coordinate = st.integers(0, 6).map(lambda step: step / 6) | st.just(math.nan)
clouds = st.lists(st.tuples(coordinate, coordinate), max_size=25).map(lambda rows: frame(*rows))


@given(clouds)
def test_mask_is_non_domination(points):
    rows = list(points.itertuples(index=False))

    def dominated(row):
        return any(
            other.compute_ratio <= row.compute_ratio and other.accuracy >= row.accuracy and other != row
            for other in rows
            if not math.isnan(sum(other))
        )

    expected = [not math.isnan(sum(row)) and not dominated(row) for row in rows]
    assert pareto_mask(points).tolist() == expected


def test_mask_keeps_the_frames_own_index():
    points = frame((0.3, 0.9), (0.2, 0.5), (0.4, 0.8))
    points.index = pd.Index(["c", "a", "c"])
    mask = pareto_mask(points)
    assert mask.index.tolist() == ["c", "a", "c"]
    assert mask.tolist() == [True, True, False]


def test_missing_values_of_a_nullable_column_are_unknown():
    points = pd.DataFrame({"compute_ratio": [0.1, 0.2], "accuracy": pd.array([pd.NA, 0.5], dtype="Float64")})
    assert pareto_mask(points).tolist() == [False, True]
    assert hypervolume(points) == pytest.approx(0.8 * 0.5)


def test_hypervolume_by_hand():
    points = frame((0.2, 0.5), (0.5, 0.8), (0.6, 0.7), (0.2, 0.5))
    assert hypervolume(points) == pytest.approx(0.3 * 0.5 + 0.5 * 0.8)
    assert hypervolume(points, worst={"compute_ratio": 0.6, "accuracy": 0.4}) == pytest.approx(0.3 * 0.1 + 0.1 * 0.4)


def test_hypervolume_of_points_outside_the_reference_is_nothing():
    assert hypervolume(frame()) == 0.0
    assert hypervolume(frame((1.0, 0.9), (1.2, 0.95), (0.5, math.nan))) == 0.0
    assert hypervolume(frame((0.3, 0.5)), worst={"compute_ratio": 0.5, "accuracy": 0.6}) == 0.0


@given(clouds)
def test_hypervolume_is_the_measured_area(points):
    """Against counting the cells of a 60 x 60 lattice (whose lines hold every coordinate that can come up)."""
    middles = (np.arange(60) + 0.5) / 60
    x, y = np.meshgrid(middles, middles)
    covered = np.zeros_like(x, dtype=bool)
    for row in points.dropna().itertuples(index=False):
        covered |= (x > row.compute_ratio) & (y < row.accuracy)
    assert hypervolume(points) == pytest.approx(covered.mean())


THREE = parse({"accuracy": "maximise", "compute_ratio": "minimise", "prefill_ms": "minimise"})
boxes = st.lists(st.tuples(coordinate, coordinate, coordinate), max_size=12).map(
    lambda rows: pd.DataFrame(rows, columns=["accuracy", "compute_ratio", "prefill_ms"], dtype=float)
)


@given(boxes)
def test_three_objectives_against_the_definitions(points):
    """The front by comparing all pairs, the volume by counting the cells of a 30 x 30 x 30 lattice."""
    rows = [(-a, c, p) for a, c, p in points.itertuples(index=False)]
    known = [row for row in rows if not math.isnan(sum(row))]
    expected = [
        row in known and not any(all(map(float.__le__, one, row)) and one != row for one in known) for row in rows
    ]
    assert pareto_mask(points, THREE).tolist() == expected
    middles = (np.arange(30) + 0.5) / 30
    x, y, z = np.meshgrid(middles, middles, middles)
    covered = np.zeros_like(x, dtype=bool)
    for gain, cost, depth in known:
        covered |= (x > cost) & (y < -gain) & (z > depth)
    volume = hypervolume(points, {"prefill_ms": 1.0}, THREE)
    assert volume == pytest.approx(covered.mean())


def test_three_objectives_at_random_against_monte_carlo():
    rng = np.random.default_rng(0)
    front = np.abs(rng.normal(size=(60, 3)))
    front /= np.linalg.norm(front, axis=1, keepdims=True)
    points = pd.DataFrame({"accuracy": front[:, 0], "compute_ratio": 1 - front[:, 1], "prefill_ms": 1 - front[:, 2]})
    assert pareto_mask(points, THREE).all()
    drawn = rng.random((100_000, 3))
    hit = (drawn[:, None] < front[None]).all(2).any(1).mean()
    assert hypervolume(points, {"prefill_ms": 1.0}, THREE) == pytest.approx(hit, abs=0.006)


def test_a_cost_without_a_worst_value_counts_from_the_worst_there_is():
    pair = parse({"accuracy/count": "maximise", "mean_tokens": "minimise"})
    points = pd.DataFrame({"accuracy/count": [0.5, 0.8, 0.9], "mean_tokens": [10.0, 20.0, 50.0]})
    assert worst_of(points, pair) == {"accuracy/count": 0.0, "mean_tokens": 50.0}
    assert hypervolume(points, objectives=pair) == pytest.approx(10 * 0.5 + 30 * 0.8)
