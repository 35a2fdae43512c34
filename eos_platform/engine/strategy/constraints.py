"""What an operator must keep to be on the front: measured where it was found, judged where it is recorded.

A constraint's value is how far it is violated: 0 or less is feasible. Every one is of the deployed operator, on
validation questions; a cost such as ``prefill_ms`` is measured while the study's other searches go on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from eos_platform.costs.amount import amount
from eos_platform.costs.registry import COMPUTE, COSTS
from eos_platform.engine.schema.sections import Constraints
from eos_platform.objectives import ACCURACY
from eos_platform.protocols import Objective, Setting, Split
from eos_platform.search.config import SearchConfig

SKILL = "accuracy/"  # of a skill, among what was measured
PREFILL = "prefill_ms"
EVERY = (COMPUTE, "mean_tokens", "tokens_left")  # costs that every search measures
SCATTER = 0.05  # of a measured cost: an operator that the fit puts at its budget may measure so much above it


class Bound(NamedTuple):
    """One constraint."""

    measure: str  # the name under which it is measured
    limit: float
    least: bool  # at least ``limit``, or at most
    name: str = ""  # in Optuna; default: the measure's

    @property
    def key(self) -> str:
        return self.name or self.measure

    def excess(self, value: float) -> float:
        """How far ``value`` violates it; 0 or less: not at all."""
        return self.limit - value if self.least else value - self.limit

    def __str__(self) -> str:
        return f"{self.key} {'at least' if self.least else 'at most'} {self.limit:g}"


def bounds(constraints: Constraints, budget: float, cost: str = COMPUTE) -> Iterator[Bound]:
    """Every constraint of a search; its budget is always one.

    Args:
        cost: that the budget is about.
    """
    limit = budget if COSTS.get_named(cost).deterministic else budget * (1 + SCATTER)
    yield Bound(cost, limit, least=False, name=f"{cost} - budget")
    for skill, limit in constraints.accuracy.items():
        yield Bound("accuracy" if skill == "all" else f"{SKILL}{skill}", limit, least=True)
    for name, limit in constraints.limits.items():
        yield Bound(name, limit, least=False)


def skills_of(constraints: Constraints, objectives: Iterable[Objective] = ()) -> list[str]:
    """The skills whose accuracy they are about."""
    skills = [skill for skill in constraints.accuracy if skill != "all"]
    skills += [one.metric.removeprefix(SKILL) for one in objectives if one.metric.startswith(SKILL)]
    return list(dict.fromkeys(skills))


def costs_of(constraints: Constraints, objectives: Iterable[Objective] = ()) -> list[str]:
    """The costs they are about, beside those that every search measures."""
    costs = list(constraints.limits)
    metrics = [one.metric for one in objectives if one.metric != ACCURACY and not one.metric.startswith(SKILL)]
    return list(dict.fromkeys(name for name in [*costs, *metrics] if name not in EVERY))


def measure(
    constraints: Constraints,
    workload: Any,
    operator: Any,
    config: SearchConfig,
    evaluate: Callable[..., Any],
    cost: Callable[..., float],
    objectives: Sequence[Objective] = (),
    known: Collection[str] = (),
    at: Mapping[str, Setting] | None = None,
) -> dict[str, float]:
    """What constraints and objectives need beside what every search measures. Runs in the worker that has the model.

    Args:
        evaluate: as ``tasks.evaluate``.
        cost: as ``measure_cost``.
        known: costs that have been measured.
        at: of ``measure_cost``, what is not usual.
    """
    measured: dict[str, float] = {}
    if skills := skills_of(constraints, objectives):
        per_skill = evaluate(workload, operator, "validation", config.eval_questions).per_skill
        measured |= {f"{SKILL}{skill}": float(per_skill[skill]) for skill in skills if skill in per_skill}
    for name in costs_of(constraints, objectives):
        if name not in known:
            measured[name] = float(cost(name, workload, operator, config.eval_questions, **(at or {})))
    return measured


def measure_cost(
    name: str,
    workload: Any,
    operator: Any,
    questions: int,
    split: Split = "validation",
    setting: Setting | None = None,
) -> float:
    """A cost of the model on its task with the operator at work (None: without any).

    Args:
        questions: of ``split``, a typical one of which is run where the cost is timed.
        setting: how the model is run there; with a device profile of another device, it is predicted.

    Raises:
        EosError: there is no such cost here, or it cannot be measured.
    """
    from eos_platform.tasks.typical import cost_context

    return amount(COSTS.get_named(name), cost_context(workload, split, questions, setting), operator).value
