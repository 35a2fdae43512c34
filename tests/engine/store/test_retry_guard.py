"""How often a search may begin in vain."""

import os

import pytest

from eos_platform.common.errors import EosError
from eos_platform.engine.store.retry_guard import BEGUN, STATE, RetryGuard


@pytest.mark.parametrize("text", ["", "[]", "{", '{"search": 1}', "\0"])
def test_damaged_files_count_nothing(tmp_path, text):
    (tmp_path / BEGUN).write_text(text)
    RetryGuard(tmp_path).begin("a")


def test_a_search_that_dies_where_it_began_is_given_up(tmp_path):
    attempts = RetryGuard(tmp_path)
    for _ in range(3):
        attempts.begin("a")
    with pytest.raises(EosError, match="died 3 times and the search got no further"):
        attempts.begin("a")


def test_one_that_gets_on_may_die_as_often_as_it_likes(tmp_path):
    attempts = RetryGuard(tmp_path)
    for number in range(10):
        attempts.begin("a")
        (tmp_path / STATE).touch()
        os.utime(tmp_path / STATE, ns=(number, number))


def test_a_driver_that_went_is_not_held_against_the_search(tmp_path):
    for driver in range(10):
        RetryGuard(tmp_path).begin(f"driver {driver}")


def test_a_full_disk_costs_only_the_safety(tmp_path):
    (tmp_path / "file").touch()
    attempts = RetryGuard(tmp_path / "file")  # nothing can be written below a file
    attempts.begin("a")
