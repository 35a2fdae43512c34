"""A study as one object: run it, resume it, ask how it stands, take its points home. The CLI says the same things."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from mlflow.exceptions import MlflowException
from rich.console import Console

from eos_platform.common import console as terminal
from eos_platform.common.addresses import sqlite_path
from eos_platform.common.boundary import reading
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_regular, is_there, write_atomic
from eos_platform.engine.closing import closing
from eos_platform.engine.cluster.plugin_packages import packages_of
from eos_platform.engine.cluster.resources import machines, preflight, ray_session, share
from eos_platform.engine.driver import Interrupted, inspect, job_of, measured_costs, run_trials
from eos_platform.engine.final_evaluation import finish, points_table
from eos_platform.engine.schema import study_file
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.engine.status import Status, status_of, with_heldout
from eos_platform.engine.store import checkpoint_storage as storage
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.store.archive import archive_study
from eos_platform.engine.store.lease import Lease, LeaseLost
from eos_platform.engine.store.retry import Retry
from eos_platform.engine.store.run_dir import RUNS, RunDir, load_study, run_dir_of, studies_in
from eos_platform.engine.strategy import warm_start
from eos_platform.engine.strategy.samplers import SAMPLERS, make_sampler
from eos_platform.engine.sync import reconcile
from eos_platform.engine.trial import Functions
from eos_platform.operators.designs import DESIGNS
from eos_platform.tasks.choice import text_of
from eos_platform.tracking.recorder import Recorder, first_line, probe

# what the comparison's file must have
NUMBERS = ("accuracy", "accuracy_low", "accuracy_high", "compute_ratio", "mean_tokens")
WORDS = ("name", "family", "regime", "trial", "design")


class Study:
    """Many searches of one model under Optuna, one Pareto front.

    Example:
        >>> study = eos.Study("quickstart")
        >>> study.run()
        >>> study.points()

    Args:
        source: a packaged study's name, a study file, or the name of a study already run here.
        overrides: ``key=value`` changes to the study file, such as ``"trials=8"`` or ``"search.steps=60"``.
        runs: the folder studies are kept in.
        address: "local" starts Ray on this machine; "auto" or HOST:PORT joins the cluster this machine is a node of.
        ship_code: send this package to nodes of the cluster that lack it.
        functions: stand-ins for loading, searching and evaluating, for tests of the engine.
        scheduler: a Ray Tune scheduler that may stop searches early.
    """

    def __init__(
        self,
        source: str | Path | StudyFile,
        overrides: Iterable[str] = (),
        *,
        runs: str | Path = RUNS,
        address: str = "local",
        ship_code: bool = False,
        console: Console | None = None,
        functions: Functions | None = None,
        scheduler: Any = None,
    ) -> None:
        self.file = source if isinstance(source, StudyFile) else load_study(source, overrides, runs)
        self.folder: RunDir = run_dir_of(self.file, runs)
        self.address, self.ship_code = address, ship_code
        self.console = console or terminal.console()
        self._functions, self._scheduler = functions or Functions(), scheduler

    def __repr__(self) -> str:
        """Its model, task and plan, in a line."""
        plan = f"{self.file.trials} trials proposed by {self.file.sampler.name}"
        return f"Study: {self.file.name} ({self.file.model} on {self.file.task}, {plan}) in {self.folder.path}"

    def run(self, *, fresh: bool = False) -> pd.DataFrame:
        """Run the study, or what remains of it, and compare its front with the designs.

        A study that was interrupted, even by a hard kill, goes on where it stopped: no finished search is lost or done
        twice. So a scheduler may start the same command again.

        Args:
            fresh: start over; an earlier study of this name is archived under ``.earlier`` in the runs folder.

        Returns:
            The points of the final comparison, also in ``points.csv``.

        Raises:
            EosError: bad input, a store of another study, a model that cannot be loaded, or every search failed.
            Interrupted: Ctrl-C; everything finished is kept.
        """
        self._check(fresh)
        if fresh:
            self._archive()
        if self._finished():
            points = self.points()
            self.console.print(
                points_table(points, f"{self.file.name}, held-out questions (finished earlier)", self.file.axes)
            )
            self._closing(points)
            return points
        self.console.print(
            f"{self.file.name}: starting Ray and loading {self.file.model}", highlight=False, markup=False
        )
        with ray_session(self.address, self.ship_code):
            elsewhere = self.address != "local"
            part = share(self.file, machines(self.file.resources.labels), elastic=elsewhere)
            if part.concurrent < self.file.concurrent:
                instead = f"{part.concurrent} searches at a time instead of {self.file.concurrent}"
                self.console.print(f"{instead}: more do not fit on this machine")
            job = job_of(self.folder, part, self._functions)
            if elsewhere:
                preflight(part, job.states, job.model, packages_of(self.file))
            facts = inspect(self.file, job, part)
            costs = measured_costs(self.file, job, part)
            known = warm_start.origins(self.file, self.folder.runs, facts, costs)
            job = replace(job, starts=warm_start.starts(self.file, known))
            self.folder.prepare()
            with (
                self.folder.lock(),
                store.open_store(self.folder, create=True) as optuna_study,
                self._lease(optuna_study) as lease,
            ):
                store.bring_up_to_date(optuna_study)
                with self._tracked(optuna_study) as recorder:
                    if self.folder.shared:
                        storage.claim(self.folder.states, optuna_study.user_attrs[store.UID])
                    self._write_study_file()
                    if begun := warm_start.begin(optuna_study, self.file, known):
                        self.console.print(
                            f"warm start: {begun} searches with settings that did well before come first"
                        )
                    recorder.examples = facts.examples
                    retry = Retry(check=lease.check)
                    run_trials(self.folder, optuna_study, recorder, job, part, self.console, self._scheduler, retry)
                    reconcile.repair(self.folder, optuna_study, recorder)
                    store.refuse_failure(optuna_study)
                    with self._explain_failure():
                        points = finish(self.folder, optuna_study, recorder, job, part, facts, self.console)
                # last of all: a study without this mark is completed by a resume
                store.mark_compared(optuna_study, self.file)
        self.console.print(points_table(points, f"{self.file.name}, held-out questions", self.file.axes))
        self._closing(points)
        return points

    def resume(self) -> pd.DataFrame:
        """As ``run``, for a study that has been started.

        Raises:
            EosError: it has not.
        """
        with store.open_store(self.folder, create=False):
            pass
        return self.run()

    def status(self) -> Status:
        """Where the study stands, from its store."""
        with store.open_store(self.folder, create=False) as optuna_study, self._reading():
            status = status_of(self.file, optuna_study, written=self.folder.points.exists())
        return with_heldout(status, self.points()) if status.compared else status

    def _reading(self) -> contextlib.AbstractContextManager[None]:
        """A store may hold what neither Optuna nor this package wrote."""
        return reading(f"study '{self.file.name}': its Optuna store cannot be read")

    def points(self) -> pd.DataFrame:
        """The points of the final comparison.

        Raises:
            EosError: the study has not come to it.
        """
        if not self.folder.points.exists():
            raise EosError(f"study '{self.file.name}' has no results yet; eos study status {self.file.name}")
        try:
            check_regular(self.folder.points, "points")
            points = pd.read_csv(self.folder.points, keep_default_na=True, dtype={"design": str}).astype(
                dict.fromkeys(NUMBERS, float)
            )
            if missing := [name for name in (*WORDS, *self.file.objectives) if name not in points]:
                raise KeyError(missing[0])
            return points.astype({"trial": "Int64"}).fillna({"design": ""})
        except EosError:
            raise
        except Exception:  # pandas has many words for a table that is none
            raise EosError(
                f"{self.folder.points} is damaged; delete it, and eos study run {self.file.name} makes it again"
            ) from None

    def _lease(self, optuna_study: optuna.Study) -> contextlib.AbstractContextManager[Lease]:
        """Hold the study on every host."""
        note = lambda text: self.console.print(text, style="yellow", markup=False)  # noqa: E731
        return Lease(store.engine_of(optuna_study), self.file.name).held(note)

    def _archive(self) -> None:
        """Make room for a new study of this name."""
        if not self.folder.path.exists():
            self.folder.prepare()
        with (
            contextlib.suppress(store.NotRun),
            self.folder.lock(),
            store.open_store(self.folder, create=False, another=True) as optuna_study,
            self._lease(optuna_study),
        ):
            if uid := optuna_study.user_attrs.get(store.UID):
                recorder = Recorder(self.folder.mlflow_uri, self.file.name, uid, self.folder.mlflow_artifacts)
                reconcile.repair(self.folder, optuna_study, recorder)
                recorder.close("FINISHED" if optuna_study.user_attrs.get(store.COMPARED) else "KILLED")
            where = archive_study(self.folder, optuna_study)
            self.console.print(f"the earlier study is in {where}", highlight=False, markup=False, soft_wrap=True)

    def check(self) -> list[str]:
        """Compare Optuna, MLflow and Ray's files record by record: what does not fit, nothing when all does.

        Raises:
            EosError: the study has not been run, or a store cannot be read.
        """
        with store.open_store(self.folder, create=False) as optuna_study, self._reading():
            return reconcile.differences(self.folder, optuna_study)

    def _write_study_file(self) -> None:
        """Write the study as it runs; a resume needs the stores' passwords, so nobody else may read them."""
        write_atomic(self.folder.study_file, self.file.to_yaml(secrets=True), private=self.file.secret)

    def _check(self, fresh: bool = False) -> None:
        """All that can be wrong without a cluster, before anything is written."""
        for design in self.file.final.baselines:
            try:
                DESIGNS.get_named(design)
            except EosError as error:
                raise EosError(f"final.baselines: {error}") from None
        if SAMPLERS.package(self.file.sampler.name):  # found out now, not by the first search
            make_sampler(self.file.sampler, 0, self.file.trials, self.file.space, len(self.file.axes))
        warm_start.check(self.file, self.folder.runs)
        self.folder.check()
        path = sqlite_path(self.folder.mlflow_uri)
        if path is None:
            probe(self.folder.mlflow_uri)
        else:
            is_there(path, "MLflow store")
        # refuses a store of another study
        with contextlib.suppress(store.NotRun), store.open_store(self.folder, create=False, another=fresh):
            pass

    def _finished(self) -> bool:
        """Whether every trial ended and the comparison was made after the last of them."""
        if not (self.folder.points.exists() and self.folder.figure.exists()):
            return False
        try:
            with store.open_store(self.folder, create=False) as optuna_study, self._reading():
                return store.is_compared(optuna_study, self.file)
        except store.NotRun:
            return False

    @contextlib.contextmanager
    def _tracked(self, optuna_study: optuna.Study) -> Iterator[Recorder]:
        """The MLflow writer, with what an earlier driver left open put in order before and after."""
        plan = {"trials": self.file.trials, "sampler": self.file.sampler.name, "seed": self.file.sampler.seed}
        try:
            recorder = Recorder(
                self.folder.mlflow_uri, self.file.name, optuna_study.user_attrs[store.UID], self.folder.mlflow_artifacts
            )
            lost = reconcile.repair(self.folder, optuna_study, recorder)
            recorder.describe(self.file.to_yaml(), self.file.description, _summary(self.file), plan, self.file.axes)
        except MlflowException as error:
            raise self._mlflow_error(error) from None
        done = len(stored.finished(optuna_study.get_trials(deepcopy=False)))
        if done or lost:
            again = f", {lost} cut off and run again" if lost else ""
            self.console.print(f"continuing {self.file.name}: {done} of {self.file.trials} trials done{again}")
        try:
            yield recorder
        except BaseException as error:
            interrupted = isinstance(error, (Interrupted, KeyboardInterrupt))
            if not isinstance(error, LeaseLost):  # then the study is another driver's
                with contextlib.suppress(Exception):  # a store that is down must not hide why the study ended
                    store.requeue_lost_trials(optuna_study)
                with contextlib.suppress(Exception):
                    reconcile.repair(self.folder, optuna_study, recorder)
                    recorder.close("KILLED" if interrupted else "FAILED")
            if isinstance(error, MlflowException):
                raise self._mlflow_error(error) from None
            raise
        try:
            recorder.close("FINISHED")
        except MlflowException as error:
            raise self._mlflow_error(error) from None

    @contextlib.contextmanager
    def _explain_failure(self) -> Iterator[None]:
        """Say of a final comparison that fails, on a full disk say, that nothing of it is lost but itself."""
        try:
            yield
        except LeaseLost:
            raise
        except (EosError, OSError) as error:
            raise EosError(
                f"the final comparison is missing ({error}); every search is kept, and "
                f"eos study resume {self.file.name} makes the comparison"
            ) from None

    def _mlflow_error(self, error: MlflowException) -> EosError:
        return EosError(
            f"MLflow cannot be written ({first_line(error)}); every finished search is kept, and "
            f"eos study resume {self.file.name} completes its runs"
        )

    def _closing(self, points: pd.DataFrame) -> None:
        """What was found, and where to look next."""
        for line in closing(self.folder, points):
            self.console.print(line, soft_wrap=True, highlight=False, markup=False)


def known_studies(runs: str | Path = RUNS) -> list[tuple[str, str, str, str, str]]:
    """Packaged studies and those run here: name, model, trials, state, description."""
    files = {**study_file.packaged(), **studies_in(runs)}
    lines = []
    for name, path in files.items():
        try:
            file = study_file.load(path)
            state, trials = "not run", str(file.trials)
            with (
                contextlib.suppress(store.NotRun),
                store.open_store(run_dir_of(file, runs), create=False) as optuna_study,
            ):
                run_dir = run_dir_of(file, runs)
                with reading(f"study '{name}': its Optuna store cannot be read"):
                    status = status_of(file, optuna_study, written=run_dir.points.exists())
                state = "finished" if status.compared and not status.remaining else "unfinished"
                trials = f"{status.finished} of {file.trials}"
            lines.append((name, file.model, trials, state, file.description))
        except EosError as error:
            lines.append((name, "", "", "unreadable", str(error)))
    return lines


def _summary(study: StudyFile) -> dict[str, Any]:
    return {
        "model": study.model,
        "task": text_of(study.task),
        "varied": ", ".join(study.space),
        **{f"fixed.{name}": value for name, value in study.search.items()},
    }
