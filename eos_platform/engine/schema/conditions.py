"""Conditional spaces: a field may vary only where another has a given value; elsewhere it keeps its fixed value."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from optuna.trial import BaseTrial

from eos_platform.common.errors import EosError
from eos_platform.engine.schema.dimension import MANY, Dimension

Space = Mapping[str, Dimension]


def ordered(space: Space) -> list[str]:
    """The names, each after those its condition asks about; otherwise as they are written.

    Raises:
        CycleError: conditions that go in a circle.
    """
    sorter = TopologicalSorter({name: list(dimension.when or ()) for name, dimension in space.items()})
    sorter.prepare()
    order: list[str] = []
    ready: set[str] = set()
    while sorter.is_active():
        ready |= set(sorter.get_ready())
        name = next(one for one in space if one in ready)
        ready.remove(name)
        order.append(name)
        sorter.done(name)
    return order


def refuse_circle(space: Space, where: str) -> None:
    """Stop at conditions that go in a circle.

    Raises:
        EosError: naming the circle.
    """
    try:
        ordered(space)
    except CycleError as error:
        raise EosError(f"{where}: space: conditions go in a circle: {' -> '.join(reversed(error.args[1]))}") from None


def holds(dimension: Dimension, values: Mapping[str, Any]) -> bool:
    """Whether the field varies, beside ``values`` of the fields that do."""
    return all(parent in values and values[parent] in wanted for parent, wanted in (dimension.when or {}).items())


def active(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``values`` whose conditions hold, in their order."""
    chosen: dict[str, Any] = {}
    for name in ordered(space):
        if name in values and holds(space[name], chosen):
            chosen[name] = values[name]
    return {name: chosen[name] for name in values if name in chosen}


def suggest(trial: BaseTrial, space: Space) -> dict[str, Any]:
    """Have ``trial`` choose every field that varies."""
    values: dict[str, Any] = {}
    for name in ordered(space):
        if holds(space[name], values):
            values[name] = space[name].ask(trial, name)
    return values


def grid_size(space: Space) -> int:
    """How many points the space has, conditions minded; more than ``MANY`` when it has more.

    Raises:
        EosError: a range without steps has no number of points.
    """
    for name, dimension in space.items():
        if dimension.points is None:
            raise EosError(f"space.{name}: a grid needs a choice, an int or a step: {{float: [0.1, 0.4], step: 0.1}}")
    order = ordered(space)
    parents = {parent for dimension in space.values() for parent in dimension.when or ()}

    def count(at: int, values: dict[str, Any]) -> int:
        if at == len(order):
            return 1
        name, dimension = order[at], space[order[at]]
        if not holds(dimension, values):
            return count(at + 1, values)
        points = dimension.points or ()
        if name not in parents:
            return len(points) * count(at + 1, values)
        total = 0
        for point in points:
            total += count(at + 1, {**values, name: dimension.value(point)})
            if total > MANY:
                break
        return total

    return count(0, {})
