"""Optimisers on the real table: each leaves what it knew and when, and the same for the same seed."""

import pytest

from eos_platform.benchmark import OperatorBench
from eos_platform.benchmark.baselines.methods import METHODS
from eos_platform.benchmark.baselines.run import run, searched, table, trace
from eos_platform.common.errors import EosError

OBJECTIVES, EVALUATIONS = ("error", "compute_ratio"), 25


@pytest.fixture(scope="module")
def bench():
    return OperatorBench("bundled-small", ("design",))


@pytest.mark.parametrize("name", [name for name in METHODS if name != "gp"])
def test_a_method_spends_what_it_is_given(bench, name):
    first, again, other = (METHODS[name](bench, OBJECTIVES, EVALUATIONS, seed) for seed in (0, 0, 1))
    assert first.points == again.points != other.points
    assert first.spent == sorted(first.spent)
    whole = EVALUATIONS * bench.questions
    if name == "mo-asha":  # many points at few questions, few at all of them
        assert whole <= first.total < whole + bench.questions
        assert len(first.points) < EVALUATIONS
    else:
        assert first.total == whole
        assert len(first.points) == EVALUATIONS
    shares = trace(first, EVALUATIONS)
    assert list(shares) == [5, 10, 15, 20, 25]
    assert 0 <= shares[5] <= shares[10] <= shares[25] <= 1


@pytest.mark.slow  # fits Gaussian processes
def test_gp_beats_its_random_start(bench):
    history = METHODS["gp"](bench, OBJECTIVES, 30, 0)
    shares = trace(history, 30)
    assert shares[30] > shares[20]


def test_runs_are_kept_and_not_run_again(tmp_path):
    said = []
    given = tmp_path, ["bundled-small"], ["random"], range(2), lambda method: 10, 60.0, said.append
    run(*given)
    run(*given)
    assert len(said) == 2
    rows = table(tmp_path)
    assert rows["seeds"].tolist() == [2, 2]
    assert rows["evaluations"].tolist() == [5, 10]
    assert (rows["worst"] <= rows["mean"]).all()
    with pytest.raises(EosError, match="unknown method 'tpee'; did you mean 'tpe'"):
        run(tmp_path, ["bundled-small"], ["tpee"], range(1), lambda method: 10, 60.0, said.append)


def test_searches_are_a_share_of_the_space_without_them():
    rows = searched("bundled-small")
    assert rows["evaluations"].tolist() == [30, 60, 120, 240, 480]
    assert (rows["mean"] > 0.5).all()
