"""A study's folder: where its files lie, and the lock that lets one driver run it at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from eos_platform.common.addresses import of_sqlite, remember, sqlite_path
from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError, expected
from eos_platform.common.files import as_path, shown_path
from eos_platform.engine.schema.study_file import StudyFile, find, forgets, load
from eos_platform.engine.store import checkpoint_storage as storage

RUNS = "eos-runs"


@dataclass(frozen=True)
class RunDir:
    """Paths of one study under the runs folder."""

    runs: Path
    study: StudyFile

    @property
    def path(self) -> Path:
        return self.runs / self.study.name

    @property
    def study_file(self) -> Path:
        """The study as it runs, overrides included; what ``resume NAME`` reads."""
        return self.path / "study.yaml"

    @property
    def operators(self) -> Path:
        return self.path / "operators"

    @property
    def points(self) -> Path:
        return self.path / "points.csv"

    @property
    def figure(self) -> Path:
        return self.path / "pareto.html"

    @property
    def storage(self) -> Path:
        """The driver's Ray Tune files, which nothing is ever read back from."""
        return self.path / "storage"

    @property
    def states(self) -> str:
        """The folder or URL of the search states; on a cluster, one that every node reaches."""
        given = self._store("storage")
        if given is None:
            return str(self.storage / "states")
        place = given if storage.is_url(given) else str(Path(given).absolute())
        return storage.under(place, f"{self.study.name}/states")

    def state(self, number: int) -> str:
        """Where the search of trial ``number`` (or of the first trial it retries) keeps its state."""
        return storage.under(self.states, f"trial-{number}")

    def _store(self, name: str) -> str | None:
        """What the study file says, else the environment: a cluster's stores need not be in every study file."""
        address = getattr(self.study.stores, name) or os.environ.get(f"EOS_STORES_{name.upper()}") or None
        remember(address)
        return address

    @property
    def optuna_url(self) -> str:
        return self._store("optuna") or of_sqlite(self.path / "optuna.db")

    @property
    def mlflow_uri(self) -> str:
        return self._store("mlflow") or of_sqlite(self.runs / "mlflow.db")

    @property
    def mlflow_artifacts(self) -> str | None:
        """Where MLflow puts artifacts; a server decides by itself."""
        return (self.runs / "mlflow-artifacts").as_uri() if sqlite_path(self.mlflow_uri) else None

    def check(self) -> None:
        """Whether the folders can be made, without making them.

        Raises:
            EosError: they cannot.
        """
        storage.check(self._store("storage") or "")
        storage.check(self.states)
        if forgets(self.optuna_url):  # from the environment: a study file with such a store is not valid
            raise EosError(f"EOS_STORES_OPTUNA: '{self.optuna_url}' is kept in memory: a study would be lost with it")
        for path in (self.path, self.storage, *([] if storage.is_url(self.states) else [Path(self.states)])):
            try:
                if "\0" in str(path):  # "exists" would just say no
                    raise ValueError("a path has no NUL characters")
                there = next(parent for parent in (path, *path.parents) if parent.exists())
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise EosError(f"cannot make the study's folder {str(path)[:200]!r}: {reason}") from None
            if not there.is_dir():
                raise EosError(f"cannot make the study's folder {path}: {there} is a file")
            if not os.access(there, os.W_OK | os.X_OK):
                raise EosError(f"cannot make the study's folder {path}: {there} is not writable")

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            EosError: they cannot be made.
        """
        for path in (self.path, self.storage):
            try:
                path.mkdir(parents=True, exist_ok=True)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise EosError(f"cannot make the study's folder {path}: {reason}") from error

    @property
    def shared(self) -> bool:
        """Whether search states are kept outside the study's folder, where other studies may keep theirs."""
        return storage.is_url(self.states) or not Path(self.states).is_relative_to(self.path)

    def forget_state(self, number: int) -> None:
        """Drop a finished search's state."""
        storage.forget(self.state(number))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the study: a second driver would take the first one's running trials for dead.

        The lock dies with the process, so a killed driver never blocks a resume.
        """
        with (self.path / "driver.lock").open("a+") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                stream.seek(0)
                raise EosError(f"study '{self.study.name}' is being run by {stream.read() or 'a process'}") from None
            stream.truncate(0)
            stream.write(f"process {os.getpid()} on {socket.gethostname()}")
            stream.flush()
            try:
                yield
            finally:
                stream.truncate(0)


def run_dir_of(study: StudyFile, runs: str | Path = RUNS) -> RunDir:
    """The study's folder under ``runs``, absolute: workers have other working directories."""
    return RunDir(Path(runs).absolute(), study)


def studies_in(runs: str | Path) -> dict[str, Path]:
    """The files of the studies run under ``runs``, by name.

    Raises:
        EosError: no such folder can be.
    """
    try:
        return {path.parent.name: path for path in sorted(Path(runs).glob("*/study.yaml"))}
    except (OSError, ValueError) as error:
        raise EosError(f"cannot read the runs folder {shown_path(runs)}: {error_text(error)}") from None


def load_study(source: str | Path, overrides: Iterable[str] = (), runs: str | Path = RUNS) -> StudyFile:
    """A study's name means the one already run under ``runs``, if there is one; then the packaged one.

    Raises:
        EosError: no such study, or not a valid study file.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise expected("study", "a study's name or its file", source)
    ran = studies_in(as_path(runs, "runs"))
    overrides = [overrides] if isinstance(overrides, str) else overrides  # one alone
    if isinstance(overrides, Mapping) or not isinstance(overrides, Iterable):
        raise expected("overrides", "changes such as ['trials=8']", overrides)
    if isinstance(source, str) and source in ran:
        return load(ran[source], overrides)
    return load(find(source, also=ran), overrides)
