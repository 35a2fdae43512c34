"""Mean ranks and critical differences, against scipy's test and published tables."""

import math

import numpy as np
import pytest
from scipy import stats

from eos_platform.analysis.stats.ranks import _relative, critical_difference, rank_methods
from eos_platform.common.errors import EosError


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_critical_difference_is_that_of_the_tables(methods, q):
    """Demsar 2006, table 5 (a)."""
    expected = q * math.sqrt(methods * (methods + 1) / (6 * 14))
    assert critical_difference(methods, 14) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("ties", [False, True])
def test_friedman_is_that_of_scipy(ties):
    rng = np.random.default_rng(3)
    value = rng.integers(0, 4, (9, 5)).astype(float) if ties else rng.random((9, 5))
    blocks = {row: dict(zip("abcde", values, strict=True)) for row, values in enumerate(value)}
    ranking = rank_methods(blocks)
    assert ranking.p_value == pytest.approx(stats.friedmanchisquare(*value.T).pvalue)
    assert sum(ranking.mean_rank.values()) == pytest.approx(15)
    assert ranking.blocks == 9


def test_ties_share_their_ranks_and_all_of_them_win():
    ranking = rank_methods({0: {"a": 0.5, "b": 0.5, "c": 0.1}, 1: {"a": 0.9, "b": 0.2, "c": 0.2}})
    assert ranking.mean_rank == {"a": 1.25, "b": 2.0, "c": 2.75}
    assert ranking.wins == {"a": 2, "b": 1, "c": 0}


def test_who_misses_a_block_is_listed_apart_or_last():
    blocks = {0: {"a": 0.9, "b": 0.5, "c": 0.7}, 1: {"a": 0.9, "b": 0.5, "c": None}, 2: {"a": 0.3, "b": 0.5}}
    apart = rank_methods(blocks)
    assert apart.mean_rank == pytest.approx({"a": 4 / 3, "b": 5 / 3})
    assert apart.partial == {"c": (1, 0.5)}
    last = rank_methods(blocks, missing="last")
    assert last.mean_rank == pytest.approx({"a": (1 + 1 + 2) / 3, "b": (3 + 2 + 1) / 3, "c": (2 + 3 + 3) / 3})
    assert last.partial == apart.partial  # named, though ranked


def test_cliques_join_what_is_not_told_apart():
    blocks = {row: {"a": 3.0, "b": 2.0, "c": 1.0, "d": 0.0} for row in range(40)}
    ranking = rank_methods(blocks)
    assert ranking.critical_difference < 1
    assert ranking.cliques == []
    few = rank_methods({row: blocks[row] for row in range(3)})
    assert 2 < few.critical_difference < 3
    assert few.cliques == [("a", "b", "c"), ("b", "c", "d")]


def test_nothing_to_rank():
    with pytest.raises(EosError, match="no comparison"):
        rank_methods({})
    with pytest.raises(EosError, match="in every comparison"):
        rank_methods({0: {"a": 1.0}, 1: {"b": 1.0}})
    one = rank_methods({0: {"a": 1.0, "b": 0.5}})
    assert math.isnan(one.p_value)
    assert math.isnan(one.critical_difference)


def test_the_relative_rank_of_the_last_of_two_is_one():
    assert _relative(np.array([[0.9, 0.4]]), np.array([[True, True]]), 1) == 1.0
