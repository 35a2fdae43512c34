"""One Ray Tune trial: load the model once per worker process, run one search, report what was deployed.

Runs in worker processes, which must stay light: no MLflow, no Optuna, no pandas here.
"""

from __future__ import annotations

import errno
import math
import os
import random
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from eos_platform.common.errors import EosError
from eos_platform.costs.prefill_time import timed_by
from eos_platform.engine import trial_result
from eos_platform.engine.schema.sections import Constraints
from eos_platform.engine.store import checkpoint_storage as storage
from eos_platform.engine.store.retry_guard import RetryGuard
from eos_platform.engine.strategy.constraints import costs_of, measure, measure_cost
from eos_platform.engine.strategy.start_from import nearest
from eos_platform.objectives import DEFAULT
from eos_platform.protocols import Objective, Setting
from eos_platform.search.checkpoint import FILE as STATE
from eos_platform.search.checkpoint import Unusable
from eos_platform.search.config import SearchConfig


def _load(
    model: str,
    task: str,
    *,
    trust_remote_code: bool = False,
    allow_missing: bool = False,
    device: str | None = None,
) -> Any:
    from eos_platform.tasks import load_workload
    from eos_platform.tasks.choice import from_text

    return load_workload(
        model, from_text(task), device, trust_remote_code=trust_remote_code, allow_missing=allow_missing
    )


def _search(workload: Any, config: SearchConfig, *, load: Any = None, processes: int = 1, **options: Any) -> Any:
    from eos_platform.search.scale.processes import search_together
    from eos_platform.search.scale.resources import Resources

    return search_together(load, workload, config, Resources(processes=processes), **options)


def _evaluate(workload: Any, operator: Any, split: Any, questions: int) -> Any:
    from eos_platform.tasks import evaluate

    return evaluate(workload, operator, split=split, questions=questions)


def _check(workload: Any, config: SearchConfig) -> None:
    from eos_platform.search.start import check

    check(workload, config)


def _examples(workload: Any) -> list[dict[str, Any]]:
    from eos_platform.analysis.explain.overlay import example_pictures

    return example_pictures(workload) if hasattr(workload, "processor") else []


def _kept(workload: Any, operator: Any) -> str:
    from eos_platform.analysis.explain.overlay import kept_json

    return kept_json(workload, operator) if hasattr(workload, "processor") else ""


def _answers(workload: Any, operator: Any) -> str:
    from eos_platform.analysis.explain.overlay import answers_json

    return answers_json(workload, operator) if hasattr(workload, "processor") else ""


@dataclass(frozen=True)
class Functions:
    """The work itself, so that the engine can be tested in milliseconds."""

    load: Callable[..., Any] = _load
    search: Callable[..., Any] = _search
    evaluate: Callable[..., Any] = _evaluate
    check: Callable[..., None] = _check
    cost: Callable[..., float] = measure_cost
    examples: Callable[..., list[dict[str, Any]]] = _examples  # pictures to show kept tokens on
    kept: Callable[..., str] = _kept  # the tokens an operator keeps on them, JSON
    answers: Callable[..., str] = _answers  # what the model answers about them, JSON


USUAL = Setting()


@dataclass(frozen=True)
class Job:
    """What every trial of a study shares."""

    study: str
    model: str
    task: str  # as ``tasks.choice.text_of`` writes it
    states: str  # folder or URL of search states
    threads: int
    functions: Functions = Functions()
    constraints: Constraints = field(default_factory=Constraints)  # what they want measured
    starts: tuple[str, ...] = ()  # operators whose parameters searches start from, as text
    loading: tuple[str, ...] = ()  # of ``load_workload``'s options, those that are on
    objectives: tuple[Objective, ...] = DEFAULT  # what every search is measured for
    processes: int = 1  # of one search, each on a GPU of its own
    setting: Setting = USUAL  # how the model is run where costs are taken; its profile's path is absolute

    def settled(self, config: SearchConfig) -> SearchConfig:
        """A search's settings, with the device profile where this machine finds it."""
        if not self.setting.profile:
            return config
        return config.model_copy(update={"device_profile": self.setting.profile})

    @property
    def at(self) -> dict[str, Setting]:
        """Of ``measure_cost``, what is not usual."""
        return {} if self.setting == USUAL else {"setting": self.setting}


_workloads: dict[tuple[Any, ...], Any] = {}


def workload_of(model: str, task: str, functions: Functions, loading: Sequence[str] = ()) -> Any:
    """The workload, loaded once per process: a reused actor starts its next trial at once."""
    key = (model, task, functions.load, tuple(loading))
    if key not in _workloads:
        _workloads.clear()  # one model at a time fits
        _workloads[key] = functions.load(model, task, **dict.fromkeys(loading, True))
    return _workloads[key]


def trainable(job: Job) -> Callable[[dict[str, Any]], None]:
    """The function Ray Tune runs for each trial of ``job``."""

    def search_trial(config: dict[str, Any]) -> None:
        from ray import tune

        run_trial(config, job, tune.report)

    return search_trial


def run_trial(config: dict[str, Any], job: Job, report: Callable[[dict[str, Any]], None]) -> None:
    """Run one search and report it.

    A search that raises is a result too (``failure``), reported like any other: the process is sound, so its actor is
    kept, and Ray's retries are left for workers that die. The state folder lets such a retry go on where it stopped.

    Args:
        config: number, root (first trial of a chain of retries) and the search's fields.
        report: ``ray.tune.report``, or a stand-in.
    """
    # a reused actor has the last trial's settings and random state; OpenMP's thread count belongs to the thread
    torch.set_num_threads(job.threads)
    try:
        settings = job.settled(SearchConfig.of(config["search"]))
        random.seed(settings.seed)
        np.random.seed(settings.seed % 2**32)
        torch.manual_seed(settings.seed)
        # on one core what else the machine does lengthens no time: a study's other searches above all
        clock = time.process_time if job.threads == 1 else time.perf_counter
        with storage.opened(storage.under(job.states, f"trial-{config['root']}")) as state, timed_by(clock):
            others = {} if job.objectives == DEFAULT else {"objectives": [one.metric for one in job.objectives]}
            search = {"model": job.model, "task": job.task, **settings.fields(), **others}
            finished = trial_result.find(state.folder, search)
            if finished is None:
                RetryGuard(state.folder).begin(config.get("session", ""))
                workload = workload_of(job.model, job.task, job.functions, job.loading)

                def report_step(step: int, values: dict[str, float]) -> None:
                    state.keep()
                    report({"step": step, "steps": settings.steps, "curve": _plain(values)})

                start = nearest(job.starts, settings, workload)
                begun: dict[str, Any] = {"start": start} if start else {}
                if job.processes > 1:
                    loading = dict.fromkeys(job.loading, True)
                    begun |= {
                        "processes": job.processes,
                        "load": partial(job.functions.load, job.model, job.task, **loading),
                    }
                if others:  # so that searches can be compared on the way
                    begun["measure"] = _interim_measure(job, workload, settings)
                try:
                    result = job.functions.search(
                        workload, settings, report=report_step, checkpoint=state.folder, **begun
                    )
                except (
                    Unusable
                ):  # a machine went down with it, or it is an earlier version's: no reason to lose a search
                    (state.folder / STATE).unlink(missing_ok=True)
                    result = job.functions.search(
                        workload, settings, report=report_step, checkpoint=state.folder, **begun
                    )
                also = measure(
                    job.constraints,
                    workload,
                    result.operator,
                    settings,
                    job.functions.evaluate,
                    job.functions.cost,
                    job.objectives,
                    trial_result.spent(result),
                    job.at,
                )
                ended = trial_result.found(result, also, job.objectives)
                finished = {
                    trial_result.KEY: trial_result.plain(ended),
                    "kept": _picture(job, workload, result.operator),
                }
                trial_result.keep(state.folder, search, finished)
                state.keep()
        final = trial_result.last_report(finished, job.objectives, job.study, config["number"])
    except _FATAL_DEVICE_ERRORS:
        raise
    except Exception as error:
        outside = out_of_space(error)
        report(
            {
                "failure": outside or _line(error),
                "traceback": traceback.format_exc(),
                "finished": True,
                **({"again": True} if outside else {}),
            }
        )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    else:
        report(final)


# after these the process' accelerator context cannot be trusted: let the actor die, and Ray retry in a new one
_FATAL_DEVICE_ERRORS: tuple[type[Exception], ...] = tuple(filter(None, [getattr(torch, "AcceleratorError", None)]))
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def out_of_space(error: BaseException | None) -> str | None:
    """What was wanting outside the search, if that ended it: it is no result, and the search is run again later."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            return f"{os.strerror(error.errno)}{f': {error.filename}' if error.filename else ''}"
        error = error.__cause__ or error.__context__
    return None


def _interim_measure(job: Job, workload: Any, config: SearchConfig) -> Callable[[Any, Any], dict[str, float]]:
    """What a deployed evaluation on the way tells beside accuracy and compute: of the operator and its evaluation."""

    def measured(operator: Any, evaluation: Any) -> dict[str, float]:
        known = lambda *given: evaluation  # noqa: E731 (it has just been evaluated)
        tokens = {"mean_tokens": float(operator.mean_tokens), "tokens_left": float(operator.tokens_left)}
        cost = job.functions.cost
        return tokens | measure(Constraints(), workload, operator, config, known, cost, job.objectives, at=job.at)

    return measured


def _picture(job: Job, workload: Any, operator: Any) -> str:
    """Which tokens it keeps on the example pictures, JSON."""
    return _example(job.functions.kept, workload, operator) if operator else ""


def _example(function: Callable[..., str], workload: Any, operator: Any) -> str:
    """What a function says of the example pictures; empty when that fails: it is not worth a search."""
    try:
        return function(workload, operator)
    except _FATAL_DEVICE_ERRORS:
        raise
    except Exception:
        return ""


def _plain(values: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if value is not None}


def _line(error: Exception) -> str:
    """The error in one line."""
    text = " ".join(str(error).split()) or "no message"
    return text if isinstance(error, EosError) else f"{type(error).__name__}: {text}"


@dataclass(frozen=True)
class Facts:
    """What the driver needs to know of a workload without holding its model."""

    name: str
    target: Any  # operators.spec.Target
    shape: Any  # models.compute.DecoderShape
    text_tokens: int
    refused: str = ""  # why a search of the study is impossible
    examples: Any = ()  # pictures to show kept tokens on
    groups: Any = None  # of the task's questions; None: not known


def describe(job: Job, configs: Sequence[SearchConfig] = ()) -> Facts:
    """Load the workload in this process, say what it is, and whether it can be searched under all ``configs``."""
    workload = workload_of(job.model, job.task, job.functions, job.loading)
    refused = ""
    try:
        for config in configs:
            job.functions.check(workload, job.settled(config))
    except EosError as error:
        refused = str(error)
    examples = [] if refused else job.functions.examples(workload)
    groups = getattr(workload, "skills", None)
    text = math.ceil(workload.text_tokens)
    return Facts(workload.name, workload.target, workload.shape, text, refused, examples, groups)


def costs_on(job: Job, cost: str, operators: Sequence[Any]) -> list[float]:
    """What operators cost on the study's model, in a worker that loads it."""
    torch.set_num_threads(job.threads)
    workload = workload_of(job.model, job.task, job.functions, job.loading)
    questions: int = SearchConfig.model_fields["eval_questions"].default
    return [float(job.functions.cost(cost, workload, one, questions, **job.at)) for one in operators]


@dataclass(frozen=True)
class Measured:
    """A deployed operator's held-out result, small enough to send."""

    accuracy: float
    scores: Any  # float array, in question order
    per_skill: dict[str, float]
    kept: str = ""  # the tokens it keeps on the example pictures, JSON
    answers: str = ""  # what the model answers about them with it, JSON
    refused: str = ""  # why it cannot be at work on the model
    costs: Mapping[str, float] = field(default_factory=dict)  # those of the objectives that take the model to measure


def examine_operator(job: Job, questions: int, number: int, operator: Any) -> tuple[int, Measured]:
    """Operator ``number`` of the comparison (None: the unreduced model) on held-out questions, in a worker."""
    torch.set_num_threads(job.threads)
    workload = workload_of(job.model, job.task, job.functions, job.loading)
    try:
        if operator is not None and hasattr(workload, "check"):
            workload.check(operator)
    except EosError as error:
        return number, Measured(math.nan, np.zeros(0), {}, refused=str(error))
    evaluation = job.functions.evaluate(workload, operator, "heldout", questions)
    scores = np.asarray(evaluation.scores, dtype=float)
    kept = _picture(job, workload, operator)
    answers = _example(job.functions.answers, workload, operator)
    costs = {
        name: float(job.functions.cost(name, workload, operator, questions, split="heldout", **job.at))
        for name in costs_of(Constraints(), job.objectives)
    }
    return number, Measured(float(evaluation.accuracy), scores, dict(evaluation.per_skill), kept, answers, costs=costs)
