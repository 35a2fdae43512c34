"""Waiting for a store that is away, and only then."""

import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import IntegrityError, OperationalError

from eos_platform.engine.store.lease import LeaseLost
from eos_platform.engine.store.retry import Retry, StoreUnavailable


def outage(times, error):
    """A call that fails so often, then answers."""
    left = [error] * times

    def work():
        if left:
            raise left.pop()
        return "answer"

    return work


def away():
    error = StorageInternalError("An exception is raised during the commit.")
    error.__cause__ = OperationalError("insert", {}, Exception("postgresql://me:secret@host refused\nmore"))
    return error


def test_it_waits_and_says_so_once():
    said = []
    assert Retry(5, said.append)(outage(3, away())) == "answer"
    assert said == ["the Optuna store cannot be used (postgresql://***@host refused); trying for 5 s"]


def test_it_does_not_wait_for_ever():
    with pytest.raises(StoreUnavailable, match=r"the Optuna store cannot be used .*; nothing finished is lost"):
        Retry(0.3)(outage(1000, away()))


@pytest.mark.parametrize("error", [ValueError("no"), IntegrityError("insert", {}, Exception("twice"))])
def test_what_waiting_does_not_mend_comes_through(error):
    with pytest.raises(type(error)):
        Retry(60)(outage(1, error))


def test_a_lost_lease_ends_the_wait():
    def lost():
        raise LeaseLost("gone")

    with pytest.raises(LeaseLost):
        Retry(60, check=lost)(outage(1, away()))
