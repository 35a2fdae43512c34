"""One Ray Tune trial: load the model once per worker process, run one search, report what was deployed.

Runs in worker processes, which must stay light: no MLflow, no Optuna, no pandas here.
"""

from __future__ import annotations

import math
import random
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eos_platform.errors import EosError
from eos_platform.search.config import SearchConfig


def _load(model: str, task: str) -> Any:
    from eos_platform.tasks import load_workload

    return load_workload(model, task)


def _search(workload: Any, config: SearchConfig, **options: Any) -> Any:
    from eos_platform.search import search

    return search(workload, config, **options)


def _evaluate(workload: Any, operator: Any, split: Any, questions: int) -> Any:
    from eos_platform.tasks import evaluate

    return evaluate(workload, operator, split=split, questions=questions)


def _check(workload: Any, config: SearchConfig) -> None:
    from eos_platform.search.start import check

    check(workload, config)


@dataclass(frozen=True)
class Functions:
    """The work itself, so that the engine can be tested in milliseconds."""

    load: Callable[..., Any] = _load
    search: Callable[..., Any] = _search
    evaluate: Callable[..., Any] = _evaluate
    check: Callable[..., None] = _check


@dataclass(frozen=True)
class Job:
    """What every trial of a study shares."""

    study: str
    model: str
    task: str
    states: str  # folder of search states
    threads: int
    functions: Functions = Functions()


_workloads: dict[tuple[Any, ...], Any] = {}


def workload_of(model: str, task: str, functions: Functions) -> Any:
    """The workload, loaded once per process: a reused actor starts its next trial at once."""
    key = (model, task, functions.load)
    if key not in _workloads:
        _workloads.clear()  # one model at a time fits
        _workloads[key] = functions.load(model, task)
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
        settings = SearchConfig.of(config["search"])
        random.seed(settings.seed)
        np.random.seed(settings.seed % 2**32)
        torch.manual_seed(settings.seed)
        workload = workload_of(job.model, job.task, job.functions)
        result = job.functions.search(
            workload,
            settings,
            report=lambda step, values: report({"step": step, "steps": settings.steps, "curve": _plain(values)}),
            checkpoint=Path(job.states) / f"trial-{config['root']}",
        )
        final = _final(result, job.study, config["number"])
    except _POISON:
        raise
    except Exception as error:
        report({"failure": _line(error), "traceback": traceback.format_exc(), "finished": True})
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    else:
        report(final)


# after these the process' accelerator context cannot be trusted: let the actor die, and Ray retry in a new one
_POISON: tuple[type[Exception], ...] = tuple(filter(None, [getattr(torch, "AcceleratorError", None)]))


def _final(result: Any, study: str, number: int) -> dict[str, Any]:
    operator = result.operator
    operator = operator.model_copy(
        update={
            "name": f"{study}-{number}",
            "provenance": {**operator.provenance, "study": study, "trial": number},
        }
    )
    measured = {
        "accuracy": result.accuracy,
        "compute_ratio": result.compute_ratio,
        "mean_tokens": result.mean_tokens,
        "tokens_left": operator.tokens_left,
        "relaxed_accuracy": result.relaxed_accuracy,
        "samples": result.samples,
        "seconds": result.seconds,
    }
    return {
        "finished": True,
        "final": {name: float(value) for name, value in measured.items() if value is not None},
        "operator": operator.to_json(),
        "regime": operator.regime,
    }


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


def describe(job: Job, configs: Sequence[SearchConfig] = ()) -> Facts:
    """Load the workload in this process, say what it is, and whether it can be searched under all ``configs``."""
    workload = workload_of(job.model, job.task, job.functions)
    refused = ""
    try:
        for config in configs:
            job.functions.check(workload, config)
    except EosError as error:
        refused = str(error)
    return Facts(workload.name, workload.target, workload.shape, math.ceil(workload.text_tokens), refused)


@dataclass(frozen=True)
class Measured:
    """A deployed operator's held-out result, small enough to send."""

    accuracy: float
    correct: Any  # bool array, in question order
    per_skill: dict[str, float]


class Examiner:
    """A worker that evaluates operators on held-out questions and keeps its model between them."""

    def __init__(self, job: Job, questions: int) -> None:
        self.job, self.questions = job, questions

    def examine(self, number: int, operator: Any) -> tuple[int, Measured]:
        """Operator ``number`` of the comparison (None: the unreduced model)."""
        torch.set_num_threads(self.job.threads)
        workload = workload_of(self.job.model, self.job.task, self.job.functions)
        found = self.job.functions.evaluate(workload, operator, "heldout", self.questions)
        correct = np.asarray(found.correct, dtype=bool)
        return number, Measured(float(found.accuracy), correct, dict(found.per_skill))
