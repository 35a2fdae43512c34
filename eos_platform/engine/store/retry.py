"""Waiting for a store that is away for a while: a database server that restarts, a disk that is full."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError

RETRY_SECONDS = 120.0  # seconds
T = TypeVar("T")


class StoreUnavailable(EosError):
    """The store did not come back in time. Everything finished is in it: the study can go on later."""


class Retry:
    """Repeats what a store refuses until the store answers again.

    Args:
        seconds: how long one call may wait.
        note: told once for every time the store goes away.
        check: called before every attempt; what it raises ends the wait.
    """

    def __init__(
        self,
        seconds: float = RETRY_SECONDS,
        note: Callable[[str], None] = lambda text: None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.seconds, self.note, self.check = seconds, note, check

    def __call__(self, work: Callable[[], T]) -> T:
        """What ``work`` returns; it may run several times, so it must look before it writes.

        Raises:
            StoreAway: the store stayed away.
        """
        until, pause, notified = time.monotonic() + self.seconds, 0.1, False
        while True:
            self.check()
            try:
                return work()
            except (StorageInternalError, SQLAlchemyError) as error:
                if not is_transient(error):
                    raise
                message = reason(error)
                if time.monotonic() + pause > until:
                    raise StoreUnavailable(
                        f"the Optuna store cannot be used ({message}); nothing finished is lost"
                    ) from error
                if not notified:
                    notified = True
                    self.note(f"the Optuna store cannot be used ({message}); trying for {self.seconds:.0f} s")
            time.sleep(pause)
            pause = min(2.0, 1.5 * pause)


def is_transient(error: BaseException) -> bool:
    """Whether it is the store's state that is wrong, not what it was told."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OperationalError) or (isinstance(cause, DBAPIError) and cause.connection_invalidated):
            return True
        cause = cause.__cause__
    return False


def reason(error: BaseException) -> str:
    """The database's own words, in one line and without passwords."""
    while error.__cause__ is not None and not isinstance(error, SQLAlchemyError):
        error = error.__cause__
    return error_text(getattr(error, "orig", None) or error)


def quiet_outages() -> None:
    """Keep SQLAlchemy's pool from logging a traceback for every connection an outage broke."""
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
