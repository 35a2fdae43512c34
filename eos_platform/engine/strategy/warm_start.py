"""Warm starts: a study begins with searches that others found worth it.

- an earlier study: the settings of each search on its front are tried here, as far as this space has them;
- an operator file: the same for the search that found it; of any other operator, its cost as a budget;
- a design: a search at the cost of each number of tokens its authors published for it (as a share of the visual
  tokens), so that the study answers it where it stands; it is in the comparison at the end if ``final.baselines`` names
  it.

With ``parameters`` each search moreover starts from the sites of the operator nearest to its budget, where it has the
same ones. What is tried first is a trial like any other, and counts as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.trial import TrialState

from eos_platform.common.errors import EosError
from eos_platform.costs.flops import compute_ratio
from eos_platform.costs.registry import COMPUTE
from eos_platform.engine.schema.dimension import Dimension
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.store.run_dir import load_study, run_dir_of
from eos_platform.engine.store.stored_trial import operator_of, search_fields
from eos_platform.engine.strategy.start_from import texts
from eos_platform.engine.trial import Facts
from eos_platform.operators.designs import get_design
from eos_platform.operators.spec import OperatorSpec


class Origin(NamedTuple):
    """One search to begin with."""

    name: str  # where it comes from
    fields: Mapping[str, Any]  # of a search
    operator: OperatorSpec | None  # what came of it


Costs = Callable[[Sequence[OperatorSpec]], Sequence[float]]


def check(study: StudyFile, runs: Path) -> None:
    """Whether everything a warm start names is there, before anything is written.

    Raises:
        EosError: what is not.
    """
    plan = study.warm_start
    for name in plan.studies:
        try:
            list(_studied(name, runs))
        except EosError as error:
            raise EosError(f"warm_start.studies: {error}") from None
    for path in plan.operators:
        try:
            OperatorSpec.load(path)
        except EosError as error:
            raise EosError(f"warm_start.operators: {error}") from None
    for name in plan.designs:
        try:
            design = get_design(name)
        except EosError as error:
            raise EosError(f"warm_start.designs: {error}") from None
        if not design.published:
            raise EosError(f"warm_start.designs: its authors gave '{name}' no number of tokens; give an operator file")
    if plan.designs and "budget" not in study.space:
        raise EosError("warm_start.designs: a design is a budget to start with, and the space has no budget")


def origins(study: StudyFile, runs: Path, facts: Facts, costs: Costs | None = None) -> list[Origin]:
    """Everything the study may begin with.

    Args:
        costs: measures operators by the cost that the study's budgets are about; default: the compute ratio.
    """
    plan = study.warm_start
    origins = [origin for name in plan.studies for origin in _studied(name, runs)]
    origins += [_from_file(path) for path in plan.operators]
    origins += [origin for name in plan.designs for origin in _designed(name, facts)]
    ratios = lambda operators: [compute_ratio(one, facts.shape, facts.text_tokens) for one in operators]  # noqa: E731
    return _with_budgets(origins, study.search.get("cost", COMPUTE), facts, costs or ratios)


def begin(optuna_study: optuna.Study, study: StudyFile, origins: Sequence[Origin]) -> int:
    """Queue the searches to begin with that the study does not have yet. How many.

    At most ``most`` of them, spread over their budgets; a budget outside of the space is left out, and other settings
    outside of it are left to the sampler.
    """
    trials = optuna_study.get_trials(deepcopy=False)
    waiting = sum(trial.state == TrialState.WAITING for trial in trials)
    room = study.trials - len(stored.finished(trials)) - waiting
    plan = study.warm_start
    queued = 0
    wanted = list(_projected(origins, study.space))
    for name, params in _spread(wanted, plan.max_searches or math.ceil(study.trials / 2)):
        before = len(optuna_study.get_trials(deepcopy=False))
        if queued < room:
            optuna_study.enqueue_trial(params, user_attrs={stored.WARM_START: name}, skip_if_exists=True)
            queued += len(optuna_study.get_trials(deepcopy=False)) - before
    return queued


def starts(study: StudyFile, origins: Iterable[Origin]) -> tuple[str, ...]:
    """The operators whose parameters searches start from, as text."""
    return texts([origin.operator for origin in origins if origin.operator]) if study.warm_start.parameters else ()


def _studied(name: str, runs: Path) -> Iterator[Origin]:
    study = load_study(name, (), runs)
    with store.open_store(run_dir_of(study, runs), create=False) as optuna_study:
        for trial in stored.front(optuna_study):
            text = operator_of(trial)
            operator = OperatorSpec.from_json(text, f"{name}, trial {trial.number}") if text else None
            yield Origin(f"{name}, trial {trial.number}", search_fields(study, trial), operator)


def _from_file(path: str) -> Origin:
    operator = OperatorSpec.load(path)
    settings = operator.provenance.get("search")
    return Origin(Path(path).name, settings if isinstance(settings, dict) else {}, operator)


def _designed(name: str, facts: Facts) -> Iterator[Origin]:
    design = get_design(name)
    for nominal, published in sorted(design.published.items()):
        share = published().mean_tokens / published().target.tokens
        try:
            operator = design.build(facts.target, share * facts.target.tokens)
        except EosError:
            continue  # it cannot go so low on this model
        yield Origin(f"{name} at {nominal} tokens", {}, operator)


def _with_budgets(origins: Sequence[Origin], cost: str, facts: Facts, costs: Costs) -> list[Origin]:
    """The origins, each with a budget of this study's cost.

    Where nothing is known of a search, or its budget was about another cost, it is what the operator costs; an operator
    for another model has none.
    """
    made, here = list(origins), (facts.target.layers, facts.target.grid)
    wanted: dict[int, OperatorSpec] = {}
    for number, (name, fields, operator) in enumerate(origins):
        if fields and fields.get("cost", COMPUTE) == cost:
            continue
        others = {field: value for field, value in fields.items() if field not in ("budget", "cost")}
        made[number] = Origin(name, others, operator)
        if operator and (operator.target.layers, operator.target.grid) == here:
            wanted[number] = operator
    for number, value in zip(wanted, costs(list(wanted.values())) if wanted else (), strict=True):
        made[number] = made[number]._replace(fields={**made[number].fields, "budget": float(value)})
    return made


def _projected(origins: Iterable[Origin], space: Mapping[str, Dimension]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the space has of each search, in Optuna's terms."""
    seen = []
    for origin in origins:
        params = {}
        for name, dimension in space.items():
            if name in origin.fields:
                try:
                    params[name] = dimension.to_optuna(origin.fields[name])
                except ValueError:
                    if name == "budget":
                        params = {}
                        break
        if params and params not in seen:
            seen.append(params)
            yield origin.name, params


def _spread(wanted: list[tuple[str, dict[str, Any]]], most: int) -> list[tuple[str, dict[str, Any]]]:
    """At most ``most``, evenly over their budgets."""
    if len(wanted) <= most:
        return wanted
    ranked = sorted(wanted, key=lambda one: one[1].get("budget", 0.0))
    return [ranked[round(place * (len(ranked) - 1) / max(1, most - 1))] for place in range(most)]
