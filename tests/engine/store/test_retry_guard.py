"""What a search leaves beside its state."""

import os

import pytest

from eos_platform.common.errors import EosError
from eos_platform.engine.store.retry_guard import BEGUN, RESULT, STATE, RetryGuard
from eos_platform.operators.spec import OperatorSpec, Target

FOUND = {"final": {"accuracy": 0.5}, "operator": OperatorSpec(target=Target(layers=6, grid=(8, 8))).to_json()}
SEARCH = {"budget": 0.2, "layers": (0, 4)}


def test_a_result_is_found_by_the_same_search_alone(tmp_path):
    RetryGuard(tmp_path, SEARCH).keep(FOUND)
    assert RetryGuard(tmp_path, SEARCH).result() == FOUND
    assert RetryGuard(tmp_path, {**SEARCH, "budget": 0.3}).result() is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"search": 1}', "\0"])
def test_damaged_files_are_no_results(tmp_path, text):
    (tmp_path / RESULT).write_text(text)
    (tmp_path / BEGUN).write_text(text)
    attempts = RetryGuard(tmp_path, SEARCH)
    assert attempts.result() is None
    attempts.begin("a")


@pytest.mark.parametrize(
    "change",
    [
        {"final": None},
        {"final": {"accuracy": "0.5"}},
        {"final": {"accuracy": True}},
        {"final": [0.5]},
        {"operator": None},
        {"operator": "{}"},
        {"operator": FOUND["operator"].replace("6", "-6")},
        {"kept": 3},
    ],
)
def test_a_result_that_no_search_has_is_none(tmp_path, change):
    RetryGuard(tmp_path, SEARCH).keep({**FOUND, **change})
    assert (tmp_path / RESULT).exists()
    assert RetryGuard(tmp_path, SEARCH).result() is None


def test_a_result_that_is_no_number_is_not_kept(tmp_path):
    RetryGuard(tmp_path, SEARCH).keep({**FOUND, "final": {"accuracy": float("nan")}})
    assert not (tmp_path / RESULT).exists()
    text = '{"search": {"budget": 0.2, "layers": [0, 4]}, "result": {"final": {"accuracy": NaN}}}'
    (tmp_path / RESULT).write_text(text)
    assert RetryGuard(tmp_path, SEARCH).result() is None


def test_a_search_that_dies_where_it_began_is_given_up(tmp_path):
    attempts = RetryGuard(tmp_path, SEARCH)
    for _ in range(3):
        attempts.begin("a")
    with pytest.raises(EosError, match="died 3 times and the search got no further"):
        attempts.begin("a")


def test_one_that_gets_on_may_die_as_often_as_it_likes(tmp_path):
    attempts = RetryGuard(tmp_path, SEARCH)
    for number in range(10):
        attempts.begin("a")
        (tmp_path / STATE).touch()
        os.utime(tmp_path / STATE, ns=(number, number))


def test_a_driver_that_went_is_not_held_against_the_search(tmp_path):
    for driver in range(10):
        RetryGuard(tmp_path, SEARCH).begin(f"driver {driver}")


def test_a_full_disk_costs_only_the_safety(tmp_path):
    (tmp_path / "file").touch()
    attempts = RetryGuard(tmp_path / "file", SEARCH)  # nothing can be written below a file
    attempts.begin("a")
    attempts.keep({})
    assert attempts.result() is None
