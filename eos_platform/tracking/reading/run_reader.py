"""A study's runs as plain values, read often and fast: SQLite stores straight from their tables, others by the client.

MLflow's client takes some two seconds for a thousand runs of ours; the tables (its documented, migrated schema) a
twentieth. Nothing is written here. Re-reading costs only what changed: runs that are new, running, or ended since.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING, NamedTuple

from eos_platform.common.addresses import masked, sqlite_path
from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError, shown
from eos_platform.common.files import is_there, shown_path
from eos_platform.common.former_names import SEARCH
from eos_platform.tracking import names
from eos_platform.tracking.notes import note_of

if TYPE_CHECKING:
    from mlflow.entities import Run

CHUNK = 500  # SQLite's limit on variables is 999 in old builds
SHORT = 64  # characters of a value that other runs may have, too
INFINITE = 1e308  # MLflow keeps infinity as the largest double


@dataclass
class RawRun:
    """A run; times are seconds since the epoch."""

    run_id: str
    experiment: str  # its name
    experiment_id: str
    name: str
    status: str
    start: float
    end: float | None
    artifacts: str  # where its files are
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


class Reading(NamedTuple):
    """One value of a curve over the steps of a search."""

    curve: str
    step: int
    value: float


def reader(uri: str) -> SqliteReader | ClientReader:
    """What reads the store at ``uri``.

    Raises:
        EosError: it is not there, or does not answer.
    """
    if sqlite_path(uri) is not None:
        return SqliteReader(uri)
    from eos_platform.tracking.client import probe  # MLflow, which a store of tables does without

    probe(uri)
    return ClientReader(uri)


class SqliteReader:
    """Reads the tables of ``sqlite:///...``."""

    def __init__(self, uri: str) -> None:
        self.path = sqlite_path(uri) or Path(uri)
        if not is_there(self.path, "MLflow store"):
            raise EosError(f"no MLflow store at {shown_path(self.path)}")

    def stamp(self) -> str:
        """Changes whenever something was written."""
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        stats = [file.stat() for file in files if file.exists()]
        return "-".join(f"{stat.st_mtime_ns}.{stat.st_size}" for stat in stats)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as database:
                yield database
        except sqlite3.Error as error:
            raise EosError(f"cannot read the MLflow store {self.path}: {error_text(error)}") from None

    def parents(self) -> list[RawRun]:
        """The runs that speak for whole studies and comparisons, newest first."""
        with self._open() as database:
            heads = database.execute(
                f"{_HEAD} JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = ? AND t.value = 'study' "
                "WHERE r.lifecycle_stage = 'active' AND x.lifecycle_stage = 'active' ORDER BY r.start_time DESC",
                (names.KIND,),
            ).fetchall()
            return _fill(database, heads)

    def children(self, parent: RawRun, have: dict[str, RawRun]) -> dict[str, RawRun]:
        """The study's other runs by id; those of ``have`` that cannot have changed are passed on as they are."""
        with self._open() as database:
            heads = database.execute(
                f"{_HEAD} JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = ? AND t.value = ? "
                "WHERE r.lifecycle_stage = 'active' AND r.run_uuid != ?",
                (names.UID, parent.tags[names.UID], parent.run_id),
            ).fetchall()
            fresh = {
                run.run_id: _slim(run) for run in _fill(database, [head for head in heads if _changed(head, have)])
            }
        return {head[0]: fresh.get(head[0]) or have[head[0]] for head in heads}

    def tag(self, run_id: str, key: str) -> str | None:
        """One tag of a run, as it is now."""
        with self._open() as database:
            row = database.execute("SELECT value FROM tags WHERE run_uuid = ? AND key = ?", (run_id, key)).fetchone()
        return None if row is None else str(row[0])

    def curves(self, run_id: str) -> list[Reading]:
        """Every value of a run's curves, by step."""
        with self._open() as database:
            rows = database.execute(
                "SELECT key, step, value FROM metrics WHERE run_uuid = ? AND is_nan = 0 AND key LIKE ? ORDER BY step",
                (run_id, names.CURVE + "%"),
            ).fetchall()
        for key, step, value in rows:
            _check(run_id, "curves", (key,), (str,))
            _check(run_id, "curves", (step, value), (int, float))
        return [Reading(key.removeprefix(names.CURVE), int(step), float(value)) for key, step, value in rows]


_HEAD = (
    "SELECT r.run_uuid, r.status, r.end_time, r.start_time, r.name, x.name, r.experiment_id, r.artifact_uri "
    "FROM runs r JOIN experiments x ON x.experiment_id = r.experiment_id "
)


Head = tuple[str, str, int | None, int | None, str | None, str, int, str | None]


def _changed(head: Head, have: dict[str, RawRun]) -> bool:
    before = have.get(head[0])
    return before is None or "RUNNING" in (before.status, head[1]) or before.end != _seconds(head[2])


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _fill(database: sqlite3.Connection, heads: Iterable[Head]) -> list[RawRun]:
    for head in heads:
        _check(head[0], "times", (head[2] or 0, head[3] or 0), (int,))
        _check(head[0], "words", (head[0], head[1], head[4] or "", head[5], head[7] or ""), (str,))
    runs = {
        run_id: RawRun(
            run_id, experiment, str(where), name or "", status, (start or 0) / 1000, _seconds(end), files or ""
        )
        for run_id, status, end, start, name, experiment, where, files in heads
    }
    ids = list(runs)
    for begin in range(0, len(ids), CHUNK):
        part = ids[begin : begin + CHUNK]
        marks = ",".join("?" * len(part))
        for run_id, key, value in database.execute(
            f"SELECT run_uuid, key, value FROM tags WHERE run_uuid IN ({marks})", part
        ):
            _check(run_id, "tags", (key, value), (str,))
            runs[run_id].tags[intern(key)] = _once(value)
        for run_id, key, value in database.execute(
            f"SELECT run_uuid, key, value FROM params WHERE run_uuid IN ({marks})", part
        ):
            _check(run_id, "parameters", (key, value), (str,))
            runs[run_id].params[intern(key)] = _once(value)
        for run_id in part:
            runs[run_id] = replace(runs[run_id], params=SEARCH.latest(runs[run_id].params))
        for run_id, key, value, is_nan in database.execute(
            f"SELECT run_uuid, key, value, is_nan FROM latest_metrics WHERE run_uuid IN ({marks})", part
        ):
            _check(run_id, "metrics", (key,), (str,))
            _check(run_id, "metrics", (value,), (int, float))
            if not is_nan and abs(value) < INFINITE:
                runs[run_id].metrics[intern(key)] = value
    return list(runs.values())


def _once(value: str) -> str:
    """One copy of what thousands of runs have alike: names of settings and their values, not descriptions."""
    return intern(value) if len(value) <= SHORT else value


def _slim(run: RawRun) -> RawRun:
    """Of its description what people wrote: what the platform did is in its operator, and thousands are megabytes."""
    if note := note_of(run.tags.pop(names.NOTE, "")):
        run.tags[names.NOTE] = note
    return run


def _check(run: str, what: str, values: Iterable[object], types: tuple[type, ...]) -> None:
    """SQLite holds anything in any column.

    Raises:
        EosError: a value is of no type that MLflow writes there.
    """
    for value in values:
        if not isinstance(value, types):
            raise EosError(f"the MLflow store is damaged: {what} of run {shown(run)} hold {shown(value)}")


class ClientReader:
    """Reads any other store through MLflow's client."""

    def __init__(self, uri: str) -> None:
        from eos_platform.tracking import client

        self.uri = uri
        self.client, self._find, self._trouble = client.connect(uri), client.search_runs, client.TROUBLE

    def stamp(self) -> str:
        """Unknown here: a server must be asked."""
        return ""

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except self._trouble as error:
            raise EosError(f"cannot read the MLflow store {masked(self.uri)}: {error_text(error)}") from None

    def parents(self) -> list[RawRun]:
        """As ``SqliteReader.parents``."""
        with self._asking():
            parents = []
            for experiment in self.client.search_experiments():
                runs = self._find(self.client, experiment.experiment_id, f"tags.`{names.KIND}` = 'study'")
                parents += [_plain(run, experiment.name) for run in runs]
            return sorted(parents, key=lambda run: -run.start)

    def children(self, parent: RawRun, have: dict[str, RawRun]) -> dict[str, RawRun]:
        """As ``SqliteReader.children``; a run's later tags are seen when the parent ends."""
        with self._asking():
            where = self.client.get_run(parent.run_id).info.experiment_id
            mine = f"tags.`{names.UID}` = '{parent.tags[names.UID]}'"
            queries = [mine]
            if have:
                latest = int(1000 * max(run.start for run in have.values()))
                ended = int(1000 * max((run.end or 0) for run in have.values()))
                queries = [
                    f"{mine} and attributes.start_time >= {latest}",
                    f"{mine} and attributes.end_time >= {ended}",
                    f"{mine} and attributes.status = 'RUNNING'",
                ]
            runs_by_id = dict(have)
            for query in queries:
                for run in self._find(self.client, where, query):
                    if run.info.run_id != parent.run_id:
                        runs_by_id[run.info.run_id] = _slim(_plain(run, parent.experiment))
            return runs_by_id

    def tag(self, run_id: str, key: str) -> str | None:
        """As ``SqliteReader.tag``."""
        with self._asking():
            return self.client.get_run(run_id).data.tags.get(key)

    def curves(self, run_id: str) -> list[Reading]:
        """As ``SqliteReader.curves``."""
        with self._asking():
            keys = [key for key in self.client.get_run(run_id).data.metrics if key.startswith(names.CURVE)]
            return [
                Reading(key.removeprefix(names.CURVE), value.step, value.value)
                for key in keys
                for value in sorted(self.client.get_metric_history(run_id, key), key=lambda value: value.step)
                if math.isfinite(value.value)
            ]


def _plain(run: Run, experiment: str) -> RawRun:
    info, data = run.info, run.data
    return RawRun(
        info.run_id,
        experiment,
        info.experiment_id,
        info.run_name or "",
        info.status,
        (info.start_time or 0) / 1000,
        _seconds(info.end_time),
        info.artifact_uri or "",
        dict(data.tags),
        SEARCH.latest(data.params),
        {key: value for key, value in data.metrics.items() if abs(value) < INFINITE},  # nor NaN
    )
