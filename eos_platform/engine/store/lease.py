"""The lease: which driver runs a study, kept in the study's own store so that every host sees it.

The folder's lock binds the processes of one machine; this binds all that reach the store. A driver renews its lease
every ``BEAT`` seconds by counting a number up. Whoever wants the study reads that number twice: one that rises is a
driver alive, one that stands still for ``EXPIRY`` seconds is a dead one, whatever the hosts' clocks say. A driver that
died on this very machine is known at once, by its process. Taking and renewing are single conditional updates, so of
two drivers that reach for a study together one gets it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from eos_platform.common.errors import EosError

BEAT, EXPIRY = 3.0, 15.0  # seconds

_TABLE = sql.Table(
    "eos_leases",
    sql.MetaData(),
    sql.Column("study", sql.String(512), primary_key=True),
    sql.Column("holder", sql.String(64), nullable=False),  # '' when nobody holds it
    sql.Column("beat", sql.Integer, nullable=False),
    sql.Column("process", sql.Integer, nullable=False),
    sql.Column("began", sql.String(64), nullable=False),  # tells a process from a later one of the same number
    sql.Column("machine", sql.String(256), nullable=False),
    sql.Column("host", sql.String(256), nullable=False),
)


class LeaseLost(EosError):
    """Another driver took the study over while this one stood still."""


class Lease:
    """One study's lease, for one driver.

    Args:
        engine: of the Optuna store; the lease has a small table of its own there.
        study: the study's name.
        beat, expiry: seconds between renewals, and without one until a driver counts as dead.
    """

    def __init__(self, engine: sql.Engine, study: str, *, beat: float = BEAT, expiry: float = EXPIRY) -> None:
        self.engine, self.study, self.beat, self.expiry = engine, study, beat, expiry
        self.holder = uuid.uuid4().hex
        self.lost = False
        self._renewed = 0.0
        self._mutex = threading.Lock()
        self._ended = threading.Event()

    @contextmanager
    def held(self, note: Callable[[str], None] = lambda text: None) -> Iterator[Lease]:
        """Take the lease, renew it in the background, and give it back.

        Args:
            note: told when the wait for a silent driver begins.

        Raises:
            EosError: a living driver holds the study.
        """
        self.take(note)
        thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()
            with suppress(SQLAlchemyError):  # a store that is down: the lease expires by itself
                self._swap({"holder": self.holder}, {"holder": ""})

    def take(self, note: Callable[[str], None] = lambda text: None) -> None:
        """Take the lease, from nobody or from a driver that is dead; see ``held``."""
        try:
            _TABLE.create(self.engine, checkfirst=True)
        except sql.exc.DBAPIError:  # somebody else was a moment quicker
            if not sql.inspect(self.engine).has_table(_TABLE.name):
                raise
        first = self._read()
        if first is None:
            with suppress(IntegrityError), self.engine.begin() as connection:  # another may just have made the row
                connection.execute(sql.insert(_TABLE).values(study=self.study, holder="", beat=0, **_nobody()))
            first = self._read()
            assert first is not None
        if first["holder"] and not _died_here(first):
            self._watch(first, note)
        if not self._swap(
            {"holder": first["holder"], "beat": first["beat"]},
            {"holder": self.holder, "beat": first["beat"] + 1, **_me()},
        ):
            raise self._refusal(self._read() or first)
        self._renewed = time.monotonic()

    def _watch(self, first: dict[str, Any], note: Callable[[str], None]) -> None:
        """Return once the holder has been silent long enough."""
        until, notify_at = time.monotonic() + self.expiry, time.monotonic() + 2 * self.beat
        while time.monotonic() < until:
            time.sleep(min(self.beat, self.expiry) / 4)
            now = self._read() or first
            if not now["holder"] and now["beat"] == first["beat"]:  # given back meanwhile
                first["holder"] = ""
                return
            if (now["holder"], now["beat"]) != (first["holder"], first["beat"]):
                raise self._refusal(now)
            if time.monotonic() > notify_at:
                notify_at = float("inf")
                note(f"the last driver (process {first['process']} on {first['host']}) is silent; waiting to be sure")

    def check(self) -> None:
        """Make sure the lease is still this driver's, before something is written.

        Raises:
            LeaseLost: it is not.
        """
        if not self.lost and time.monotonic() - self._renewed > self.expiry / 2:
            with suppress(SQLAlchemyError):  # the write itself will say so
                self.renew()
        if self.lost:
            raise LeaseLost(f"another driver took over study '{self.study}' while this one stood still; it goes on")

    def renew(self) -> None:
        """Count the beat up.

        Raises:
            SQLAlchemyError: the store does not answer.
        """
        with self._mutex:
            if self.lost:
                return
            if self._swap({"holder": self.holder}, {"beat": _TABLE.c.beat + 1}):
                self._renewed = time.monotonic()
            else:
                self.lost = True

    def _renew(self) -> None:
        while not self._ended.wait(self.beat) and not self.lost:
            with suppress(SQLAlchemyError):  # down for a while: nobody else can take the lease either
                self.renew()

    def _read(self) -> dict[str, Any] | None:
        with self.engine.connect() as connection:
            row = connection.execute(sql.select(_TABLE).where(_TABLE.c.study == self.study)).mappings().first()
        return dict(row) if row else None

    def _swap(self, old: dict[str, Any], new: dict[str, Any]) -> bool:
        """Write ``new`` where the row still is as ``old`` says; whether it was."""
        same = [_TABLE.c[name] == value for name, value in old.items()]
        with self.engine.begin() as connection:
            done = connection.execute(sql.update(_TABLE).where(_TABLE.c.study == self.study, *same).values(**new))
            return done.rowcount == 1

    def _refusal(self, row: dict[str, Any]) -> EosError:
        where = f"process {row['process']} on {row['host']}" if row["holder"] else "another process"
        return EosError(f"study '{self.study}' is being run by {where}")


def _machine() -> str:
    """What process numbers mean something on: a boot of a kernel, and a container on it."""
    with suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    return uuid.uuid4().hex  # never taken for this machine again


def _began(process: int) -> str:
    """When a process started, in ticks since boot; '' when there is none."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    return ""


def _me() -> dict[str, Any]:
    process = os.getpid()
    return {"process": process, "began": _began(process), "machine": _machine(), "host": socket.gethostname()}


def _nobody() -> dict[str, Any]:
    return {"process": 0, "began": "", "machine": "", "host": ""}


def _died_here(row: dict[str, Any]) -> bool:
    return row["machine"] == _machine() and _began(row["process"]) != row["began"]
