"""The driver: runs what remains of a study with Ray Tune, and leaves the store in order however it ends."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
import ray
from ray import tune
from ray.air.execution._internal.actor_manager import RayActorManager
from rich.console import Console

from eos_platform.common.errors import EosError
from eos_platform.costs.registry import COMPUTE
from eos_platform.engine.cluster.plugin_packages import packages_of
from eos_platform.engine.cluster.resources import Share, outcome, remotely, watch
from eos_platform.engine.schema.study_checks import check_groups
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.store.retry import Retry
from eos_platform.engine.store.run_dir import RunDir
from eos_platform.engine.strategy.samplers import make_sampler
from eos_platform.engine.strategy.scheduler import make_scheduler
from eos_platform.engine.strategy.searcher import StudyCallback, StudySearcher
from eos_platform.engine.sync.mlflow_writer import MlflowWriter
from eos_platform.engine.trial import Facts, Functions, Job, costs_on, describe, out_of_space, trainable
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.config import SearchConfig
from eos_platform.tasks.choice import text_of, with_absolute_paths
from eos_platform.terminal.eta import Work
from eos_platform.terminal.progress import ProgressDisplay
from eos_platform.tracking.recorder import Recorder

# of one trial; those that get no further are given up much sooner, by ``Attempts``
WORKER_DEATHS = 50


class Interrupted(Exception):
    """The study stopped before its end; everything finished is kept."""


def job_of(run_dir: RunDir, part: Share, functions: Functions) -> Job:
    """What the study's trials share. A model folder is meant from where the driver stands."""
    study = run_dir.study
    model = os.path.abspath(study.model) if os.path.isdir(study.model) else study.model
    loading = tuple(name for name in ("trust_remote_code", "allow_missing") if getattr(study, name))
    return Job(
        study.name,
        model,
        text_of(with_absolute_paths(study.task)),
        run_dir.states,
        part.threads,
        functions,
        study.constraints,
        loading=loading,
        objectives=study.axes,
        processes=max(1, int(part.gpu)),
        setting=study.setting,
    )


def inspect(study: StudyFile, job: Job, part: Share) -> Facts:
    """Load the workload on a worker, and check what only the model can tell.

    Raises:
        EosError: a model or task that cannot be loaded, a candidate site beyond the last layer, or a budget that
            nothing reaches.
    """
    facts: Facts = outcome(remotely(describe, part)(job, extremes(study)))
    last = facts.target.layers - 1
    given: list[tuple[str, Any]] = [("search.layers", study.search.get("layers"))]
    if "layers" in study.space:
        given += [("space.layers", layers) for layers in study.space["layers"].extremes]
    for where, layers in given:
        for layer in layers or ():
            if layer > last:
                raise EosError(f"{where}: layer {layer} is beyond the last decoder layer ({last}) of {facts.name}")
    if facts.groups is not None:
        check_groups(study, facts.groups, study.name)
    if facts.refused:
        raise EosError(facts.refused)
    return facts


def measured_costs(study: StudyFile, job: Job, part: Share) -> Callable[[Sequence[OperatorSpec]], list[float]] | None:
    """Measures operators by the cost that the study's budgets are about, on a worker; None: arithmetic does."""
    cost = study.search.get("cost", COMPUTE)
    if cost == COMPUTE:
        return None
    return lambda operators: list(outcome(remotely(costs_on, part)(job, cost, list(operators))))


def extremes(study: StudyFile) -> list[SearchConfig]:
    """The searches that are impossible if any of the study's is: the smallest budget, with each choice of sites."""
    least = {"budget": min(study.space["budget"].extremes)} if "budget" in study.space else {}
    sites = [{"layers": layers} for layers in study.space["layers"].extremes] if "layers" in study.space else [{}]
    return [SearchConfig.of({**study.search, **least, **one}) for one in sites]


def run_trials(
    run_dir: RunDir,
    optuna_study: optuna.Study,
    recorder: Recorder,
    job: Job,
    part: Share,
    console: Console,
    scheduler: Any = None,
    retry: Retry | None = None,
) -> None:
    """Run the searches that remain.

    Args:
        scheduler: a Tune scheduler that may stop searches early, instead of the study file's.
        retry: how to call a store that may be away.

    Raises:
        Interrupted: Ctrl-C, a full disk, or Tune gave up; queued retries are in the store.
        EosError: the store stayed away, or another driver took the study over.
    """
    study, retry = run_dir.study, retry or Retry()
    trials = optuna_study.get_trials(deepcopy=False)
    done = len(stored.finished(trials))
    remaining = study.trials - done
    if remaining <= 0:
        return
    display = ProgressDisplay(
        console,
        study.name,
        done=done,
        target=study.trials,
        concurrent=part.concurrent,
        axes=study.axes,
        work=_work(study),
    )
    retry.note = display.note
    mlflow_writer = MlflowWriter(recorder, display.note)
    searcher = StudySearcher(
        optuna_study,
        study.space,
        study.search,
        sampler=lambda number: make_sampler(study.sampler, number, study.trials, study.space, len(study.objectives)),
        retry=retry,
        run_of=mlflow_writer.run_of,
        constraints=study.constraints,
        objectives=study.axes,
    )
    if scheduler is None:
        scheduler = make_scheduler(study, optuna_study, searcher.live, retry)
    nodes = watch(part, job.states, job.model, display.note, packages_of(run_dir.study))
    searcher.blamed = nodes.blamed
    tuner = tune.Tuner(
        tune.with_resources(trainable(job), part.request),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=remaining,
            max_concurrent_trials=part.concurrent,
            reuse_actors=True,
            trial_dirname_creator=_dirname,
        ),
        run_config=tune.RunConfig(
            # a fresh Tune experiment each time: the store, not Tune's snapshot, says what is left to do
            name=f"tune-{time.strftime('%Y%m%d-%H%M%S')}-{len(trials)}",
            storage_path=str(run_dir.storage),
            failure_config=tune.FailureConfig(max_failures=WORKER_DEATHS),
            callbacks=[StudyCallback(searcher, mlflow_writer, display, run_dir), nodes],
            verbose=0,
        ),
    )
    with display, mlflow_writer, _report_stop_signal(display), ray_errors_are_deaths():
        _fit(tuner, display)
    retry(lambda: store.requeue_lost_trials(optuna_study))
    if searcher.stopped:
        display.note(f"stopped: {searcher.stopped}")
    if len(retry(lambda: stored.finished(optuna_study.get_trials(deepcopy=False)))) < study.trials:
        raise Interrupted


def _work(study: StudyFile) -> Work:
    """What the study asks beside its steps, for the time that is left; the size of the front is a guess."""
    fixed: dict[str, Any] = {
        name: study.search[name] for name in ("batch_size", "eval_questions") if name in study.search
    }
    search = SearchConfig.of(fixed)
    operators = 1 + min(study.trials, 2 * study.final.ratios) + len(study.final.baselines) * study.final.ratios
    return Work(search.batch_size, search.eval_questions, operators, study.final.questions)


def _fit(tuner: tune.Tuner, display: ProgressDisplay) -> None:
    """Run Tune to its end.

    Raises:
        EosError: what the searcher met.
        Interrupted: the disk is full.
    """
    try:
        tuner.fit()
    except Exception as error:
        causes = list(_causes(error))
        if met := next((cause for cause in causes if isinstance(cause, EosError)), None):
            raise met from None
        if full := next(filter(None, map(out_of_space, causes)), None):
            display.note(f"stopped: {full}")
            raise Interrupted from error
        raise


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@contextmanager
def ray_errors_are_deaths() -> Iterator[None]:
    """Let Tune take a worker that Ray gave up, for want of memory say, for one that died.

    Ray Tune 2.60 knows actors that died and tasks that raised; any other error of Ray's would end the whole study.
    """
    original = RayActorManager._actor_task_failed

    def report_failure(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        known = (ray.exceptions.RayActorError, ray.exceptions.RayTaskError)
        if isinstance(exception, ray.exceptions.RayError) and not isinstance(exception, known):
            exception = ray.exceptions.RayActorError(error_msg=str(exception))
        original(self, tracked_actor_task, exception)

    RayActorManager._actor_task_failed = report_failure  # type: ignore[method-assign]
    try:
        yield
    finally:
        RayActorManager._actor_task_failed = original  # type: ignore[method-assign]


class _StopSignal(logging.Handler):
    def __init__(self, display: ProgressDisplay) -> None:
        super().__init__(logging.WARNING)
        self.display = display

    def emit(self, record: logging.LogRecord) -> None:
        if "Stop signal" in record.getMessage():
            self.display.note("stopping; unfinished searches will run again when the study is resumed")


@contextmanager
def _report_stop_signal(display: ProgressDisplay) -> Iterator[None]:
    """Answer Ctrl-C at once: Tune takes the signal, says so in its log alone, and needs seconds to stop."""
    logger, handler = logging.getLogger("ray.tune.tune"), _StopSignal(display)
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _dirname(trial: Any) -> str:
    """Tune's own name would hold every parameter, whatever its length."""
    return f"trial-{trial.config['number']}-{trial.trial_id}"


def has() -> dict[str, float]:
    """What the cluster has."""
    return dict(ray.cluster_resources())
