"""``eos.search`` and ``eos.evaluate``: one call from a model's name to an operator, and to what it is worth."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from eos_platform.analysis.transfer.places import beside
from eos_platform.api.progress import shown_progress
from eos_platform.api.result import Found
from eos_platform.common import former_names
from eos_platform.common.errors import EosError, did_you_mean, expected
from eos_platform.common.files import as_path
from eos_platform.models.runtime.operator_source import operator_from
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.config import SearchConfig
from eos_platform.search.generalist.run import generalist
from eos_platform.search.portfolio.find import find as run_search
from eos_platform.search.portfolio.find import planned_steps
from eos_platform.search.run import Report
from eos_platform.tasks.base import Subject
from eos_platform.tasks.evaluate import Evaluation
from eos_platform.tasks.evaluate import evaluate as run_evaluation
from eos_platform.tasks.scenes import Split
from eos_platform.tasks.workload import load_workload

LOADING = tuple(name for name in inspect.signature(load_workload).parameters if name != "model")
CONFIG = "an eos.SearchConfig, or its settings by keyword (budget=0.2),"


def search(
    model: Subject | str | os.PathLike[str] | Any,
    config: SearchConfig | Mapping[str, Any] | None = None,
    *,
    quiet: bool = False,
    report: Report | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    start: Mapping[str, Tensor] | Any = None,
    also: Sequence[str | Subject] = (),
    **settings: Any,
) -> Found:
    """Find an operator for a model, by gradient, at one budget.

    Several starts are tried and the result is compared with every design, unless ``portfolio`` is false. With ``also``
    one operator is found for several models of one shape, or several tasks (see ``search.generalist``), from one start.

    Example:
        >>> found = eos.search("bundled-small", budget=0.3)
        >>> found.save("operator.json")
        >>> found.attach(model)

    Args:
        model: the name of a bundled model, a folder, a model itself; or what ``eos.load_workload`` gave.
        config: settings; others may be given by keyword.
        quiet: no progress; there is none without a terminal or notebook either.
        report: called every few steps with the step and the curves.
        checkpoint: a folder to keep the search's state in; a search that finds one there goes on from it.
        start: an earlier result, or its ``parameters``, to start from.
        also: further places: ``"MODEL"``, ``"MODEL:TASK"``, ``":TASK"`` of the same model, or what
            ``eos.load_workload`` gave. The setting ``generalist`` says whether their mean counts or the worst.
        settings: of ``eos.SearchConfig`` (``budget``, ``steps``, ``seed``, ...); and of ``eos.load_workload``
            (``task``, ``device``, ``processor``, ...) unless the workload is loaded.

    Raises:
        EosError: an argument of the wrong type, a misspelt one, or one that the search refuses.
    """
    loading = {name: settings.pop(name) for name in LOADING if name in settings}
    chosen = config_of(config, settings)
    if report is not None and not callable(report):
        raise expected("report", "a function of step and curves", report)
    if checkpoint is not None:
        checkpoint = as_path(checkpoint, "checkpoint")
    start = getattr(start, "parameters", start)
    if start is not None and not isinstance(start, Mapping):
        raise expected("start", "a search's result", start)
    with frozen(model):
        workload = workload_from(model, loading)
        if also:
            if start:
                raise EosError("also: a search over several places cannot start from an earlier result")
            return _over_places(workload, also, chosen, quiet, report, checkpoint, loading.get("device"))
        with shown_progress(planned_steps(chosen), quiet) as moved:
            result = run_search(
                workload, chosen, report=_both(report, moved), checkpoint=checkpoint and Path(checkpoint), start=start
            )
    return Found.of(result)


def _over_places(
    workload: Subject,
    also: Any,
    config: SearchConfig,
    quiet: bool,
    report: Report | None,
    checkpoint: Any,
    device: str | None,
) -> Found:
    if isinstance(also, (str, Subject)) or not isinstance(also, Sequence):
        also = [also]
    for one in also:
        if not isinstance(one, (str, Subject)):
            raise expected("also", "a list of places, MODEL:TASK or what eos.load_workload gave,", one)
    loaded = iter(beside(workload, [one for one in also if isinstance(one, str)], device)[1:])
    places = [workload, *(one if isinstance(one, Subject) else next(loaded) for one in also)]
    with shown_progress(config.steps, quiet) as moved:
        return Found.of(
            generalist(places, config, report=_both(report, moved), checkpoint=checkpoint and Path(checkpoint))
        )


def evaluate(
    model: Subject | str | os.PathLike[str] | Any,
    operator: OperatorSpec | str | os.PathLike[str] | Any = None,
    split: Split = "heldout",
    questions: int = 4096,
    batch_size: int | None = None,
    **loading: Any,
) -> Evaluation:
    """Ask a model questions with an operator deployed on it: tokens really removed.

    Args:
        model: what ``eos.load_workload`` gave; or what it takes: a name, a folder, a model.
        operator: all that ``eos.attach`` takes, or a search's result; None: the model as it is.
        split: ``heldout``, ``validation`` or ``search``.
        questions: how many.
        batch_size: how many at once.
        loading: of ``eos.load_workload``, where it is called: ``task``, ``device``, ``processor``, ...

    Raises:
        EosError: unknown split, an operator made for another model, or an argument of the wrong type.
    """
    spec = None if operator is None else operator_from(operator)
    with frozen(model):
        return run_evaluation(workload_from(model, loading), spec, split, questions, batch_size)


def config_of(config: SearchConfig | Mapping[str, Any] | None, settings: Mapping[str, Any]) -> SearchConfig:
    """One configuration of both.

    Raises:
        EosError: a misspelt key, an impossible value, or something else than settings.
    """
    if isinstance(config, SearchConfig):
        if not settings:
            return config
        config = config.model_dump(exclude_unset=True)
    if config is not None and not isinstance(config, Mapping):
        raise expected("config", CONFIG, config)
    for name in settings:
        if former_names.SEARCH.name(name) not in SearchConfig.model_fields:
            known = [*SearchConfig.model_fields, *LOADING, *_OWN]
            raise EosError(f"search: unknown setting '{name}'{did_you_mean(name, known)}")
    # under today's names, so that a setting given twice is the later one
    return SearchConfig.of({**former_names.SEARCH.latest(config or {}), **former_names.SEARCH.latest(settings)})


def workload_from(model: Any, loading: Mapping[str, Any]) -> Subject:
    """What is searched or evaluated.

    Raises:
        EosError: it cannot be loaded, or is loaded already and told how.
    """
    unknown = [name for name in loading if name not in LOADING]
    if unknown:
        raise EosError(f"unknown argument '{unknown[0]}'{did_you_mean(unknown[0], LOADING)}")
    if not isinstance(model, Subject):
        return load_workload(model, **loading)
    if loading:
        raise EosError(f"{next(iter(loading))}: this workload is loaded already; eos.load_workload takes it")
    return model


@contextmanager
def frozen(model: Any) -> Iterator[None]:
    """Give a model that somebody goes on with back as it was: in training mode, with its gradients."""
    if not isinstance(model, nn.Module):
        yield
        return
    modes = [(one, one.training) for one in model.modules()]
    learning = [(one, one.requires_grad) for one in model.parameters()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, learns in learning:
            parameter.requires_grad_(learns)


def _both(first: Report | None, second: Report | None) -> Report | None:
    calls: list[Callable[[int, dict[str, float]], None]] = [one for one in (first, second) if one is not None]

    def report(step: int, curves: dict[str, float]) -> None:
        for call in calls:
            call(step, curves)

    return report if calls else None


_OWN = ("quiet", "report", "checkpoint", "start", "also")
