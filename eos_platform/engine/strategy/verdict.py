"""What a finished Ray trial means to Optuna: its state and values, and which constraints its operator violates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from optuna.trial import TrialState

from eos_platform.costs.registry import COMPUTE
from eos_platform.engine.schema.sections import Constraints
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.strategy.constraints import bounds
from eos_platform.engine.trial_result import is_number
from eos_platform.objectives import DEFAULT
from eos_platform.protocols import Objective, TrialResult


class Verdict(NamedTuple):
    """What a finished Ray trial means to Optuna."""

    state: TrialState
    values: list[float] | None = None
    failure: str | None = None
    again: bool = False  # no result of the search: something outside it was wanting
    violated: Sequence[str] = ()  # constraints that the operator does not keep, in words


def judge(
    result: Mapping[str, Any],
    error: bool,
    outcome: TrialResult | None,
    numbers: Mapping[str, Any],
    objectives: Sequence[Objective] = DEFAULT,
    constraints: Constraints | None = None,
    budget: float = math.inf,
    cost: str = COMPUTE,
) -> Verdict:
    """COMPLETE needs a last report with every objective, and every constraint's measure, finite; a trial stopped before
    one is PRUNED; else FAIL.

    Args:
        result: the last report.
        error: whether the worker died.
        outcome: the search's result in it.
        numbers: every one of that by name (``measured``).
        budget: of the search, always a constraint.
        cost: that it is about.
    """
    if error:
        return Verdict(TrialState.FAIL, failure=stored.WORKER_DIED)
    if "failure" in result:
        return Verdict(TrialState.FAIL, None, str(result["failure"]), bool(result.get("again")))
    if not result.get("finished"):
        return Verdict(TrialState.PRUNED)
    values = []
    for one in objectives:
        value = outcome.values.get(one.metric) if outcome else None
        if value is None or not is_number(value):
            wrong = "missing" if value is None else value
            return Verdict(TrialState.FAIL, failure=f"{one.metric} is {wrong}")
        values.append(float(value))
    if outcome is None or constraints is None:
        return Verdict(TrialState.COMPLETE, values)
    if lacks := missing(constraints, numbers, cost):
        return Verdict(TrialState.FAIL, failure=lacks)
    return Verdict(TrialState.COMPLETE, values, violated=violations(constraints, budget, numbers, cost))


def violations(constraints: Constraints, budget: float, numbers: Mapping[str, float], cost: str = COMPUTE) -> list[str]:
    """What an operator violates, in words; all has been measured (``missing``)."""
    violated = []
    for bound in bounds(constraints, budget, cost):
        value = numbers[bound.measure]
        if bound.excess(value) > 0:
            sign = "<" if bound.least else ">"
            violated.append(f"{bound.measure} {value:.4g} {sign} {bound.limit:.4g}")
    return violated


def missing(constraints: Constraints, numbers: Mapping[str, Any], cost: str = COMPUTE) -> str | None:
    """What is wrong when something a constraint is about is no number: a search that cannot be judged has failed."""
    for bound in bounds(constraints, 1.0, cost):
        value = numbers.get(bound.measure)
        if value is None:
            return f"{bound.measure} is missing"
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            return f"{bound.measure} is {value}"
    return None
