"""What must hold between the parts of a study file, each of which is sound by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from eos_platform.common.errors import EosError, unknown
from eos_platform.costs.registry import COMPUTE
from eos_platform.engine.schema.conditions import grid_size
from eos_platform.engine.schema.dimension import MANY, Dimension
from eos_platform.engine.schema.sections import Constraints, Sampler, Scheduler
from eos_platform.engine.schema.space import corners
from eos_platform.engine.strategy.rungs import rung_levels
from eos_platform.objectives import GROUP
from eos_platform.search.config import SearchConfig
from eos_platform.tasks.choice import name_of
from eos_platform.tasks.registry import TASKS


class Explored(Protocol):
    """The parts of a study that say how it explores its space."""

    @property
    def task(self) -> Any: ...
    @property
    def search(self) -> dict[str, Any]: ...
    @property
    def space(self) -> dict[str, Dimension]: ...
    @property
    def trials(self) -> int: ...
    @property
    def sampler(self) -> Sampler: ...
    @property
    def scheduler(self) -> Scheduler: ...
    @property
    def constraints(self) -> Constraints: ...
    @property
    def objectives(self) -> dict[str, str]: ...


def check_together(study: Explored, where: str) -> None:
    """Check the strategy, the stopping and the constraints against the space.

    Raises:
        EosError: what does not go together, with its place.
    """
    _check_sampler(study, where)
    _check_grid(study, where)
    _check_stopping(study, where)
    _check_constraints(study, where)


def _check_sampler(study: Explored, where: str) -> None:
    """A sampler of that name exists, here or in an installed package."""
    from eos_platform.engine.strategy.samplers import (
        SAMPLERS,  # Optuna; reading a study file alone should not wait for it
    )

    try:
        SAMPLERS.get_named(study.sampler.name)
    except EosError as error:
        raise EosError(f"{where}: sampler.name: {error}") from None


def _check_grid(study: Explored, where: str) -> None:
    """A grid ends: there must be a point for every trial."""
    if study.sampler.name != "grid":
        return
    try:
        points = grid_size(study.space)
    except EosError as error:
        raise EosError(f"{where}: sampler: {error}") from None
    if points > MANY:
        raise EosError(f"{where}: sampler: the grid has more than {MANY} points; leave fewer, or use qmc")
    if study.trials > points:
        raise EosError(f"{where}: trials: the grid has {points} points, not {study.trials}; set trials: {points}")


def _check_stopping(study: Explored, where: str) -> None:
    """Rungs compare deployed operators, so searches must deploy on the way, early enough, and have rungs at all."""
    plan = study.scheduler
    if plan.name == "none" or plan.grace is None:
        return
    for corner in corners(study.space):
        search = SearchConfig.model_validate({**study.search, **corner})
        if not search.eval_every:
            raise EosError(
                f"{where}: scheduler: moasha compares deployed operators on the way; set search.eval_every "
                f"(steps between them), such as {max(1, min(plan.grace, search.steps // 8))}"
            )
        if search.eval_every > plan.grace:
            raise EosError(
                f"{where}: scheduler.grace: nothing is deployed within {plan.grace} steps; search.eval_every is "
                f"{search.eval_every}, the first rung cannot be earlier"
            )
        if not rung_levels(plan.grace, plan.reduction, search.steps):
            raise EosError(
                f"{where}: scheduler.grace: a search of {search.steps} steps ends before a rung at {plan.grace} could "
                "save anything"
            )


def check_groups(study: Explored, groups: Sequence[str], where: str) -> None:
    """Constraints and objectives on accuracy are about groups of the task's questions.

    Raises:
        EosError: one is about another.
    """
    for group in study.constraints.accuracy:
        if group not in ("all", *groups):
            raise EosError(f"{where}: constraints.accuracy: {unknown('skill', group, ('all', *groups))}")
    for metric in study.objectives:
        if metric.startswith(GROUP) and (group := metric.removeprefix(GROUP)) not in groups:
            raise EosError(f"{where}: objectives: {unknown('skill', group, groups)}")


def _check_constraints(study: Explored, where: str) -> None:
    """Groups the task has, where its name alone tells; a limit of the budgets' cost above the smallest."""
    groups = getattr(TASKS.get_named(name_of(study.task)), "groups", None)
    if isinstance(groups, tuple):
        check_groups(study, groups, where)
    cost = study.search.get("cost", COMPUTE)
    limit = getattr(study.constraints, cost, None)
    fixed = study.search.get("budget", SearchConfig.model_fields["budget"].default)
    least = min(study.space["budget"].extremes) if "budget" in study.space else fixed
    # a search uses its budget up, so a limit below every budget is kept by none
    if isinstance(limit, float) and limit < least:
        raise EosError(f"{where}: constraints.{cost}: {limit:g} is below every budget ({least:g} and more)")
