"""The space Optuna explores around the inner search: which fields vary, how, and under which conditions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from eos_platform.common.errors import EosError, did_you_mean, explain, unknown
from eos_platform.costs.quantity import parse_quantity
from eos_platform.costs.registry import COMPUTE, COSTS
from eos_platform.engine.schema.conditions import active, refuse_circle
from eos_platform.engine.schema.dimension import Dimension, label
from eos_platform.search.config import SearchConfig

__all__ = ["CORNERS", "Dimension", "check_space", "corners"]

ONE = ("cost", "cost_batch", "cost_mode", "cost_answer", "device_profile")  # what budgets and costs are about
CORNERS = 256  # at most so many combinations of extremes are tried all together


def check_space(space: Mapping[str, Dimension], fixed: Mapping[str, Any], where: str) -> dict[str, Dimension]:
    """The space with its choices in the types of the fields.

    Raises:
        EosError: a field the search does not have, one that is also fixed, or a value the search would refuse.
    """
    checked = {}
    for name, dimension in space.items():
        if name not in SearchConfig.model_fields:
            raise EosError(f"{where}: space: {unknown('search field', name, SearchConfig.model_fields)}")
        if name in ONE:
            raise EosError(f"{where}: space: a study has one cost that all its budgets are about; set search.{name}")
        if name in fixed:
            raise EosError(f"{where}: '{name}' is both fixed in search and varied in space; keep one")
        if dimension.float_range and SearchConfig.model_fields[name].annotation is int:
            raise EosError(f"{where}: space.{name}: a whole number varies as int: [low, high], not float")
        extremes = dimension.extremes
        if name == "budget":  # choices may be written in units
            extremes = tuple(_quantity(value, str(fixed.get("cost", COMPUTE)), f"{where}: space") for value in extremes)
        values = [_field(name, value, f"{where}: space: {name}") for value in extremes]
        if dimension.choice is not None:
            if len({label(value) for value in values}) < len(values):
                raise EosError(f"{where}: space.{name}.choice: a value is given twice")
            dimension = dimension.model_copy(update={"choice": tuple(values)})
        checked[name] = dimension
    checked = {name: _conditions(name, checked, fixed, where) for name in checked}
    refuse_circle(checked, where)
    for corner in corners(checked):
        _agrees({**fixed, **corner}, corner, where)
    return checked


def _conditions(name: str, space: Mapping[str, Dimension], fixed: Mapping[str, Any], where: str) -> Dimension:
    """The dimension with its ``when`` as tuples of values in the types of their fields."""
    typed: dict[str, tuple[Any, ...]] = {}
    for parent, wanted in (space[name].when or {}).items():
        at = f"{where}: space.{name}.when"
        if parent in fixed:
            raise EosError(f"{at}: '{parent}' is fixed in search, so there is nothing to wait for")
        if parent not in space or parent == name:
            raise EosError(f"{at}: {unknown('varied field', parent, [one for one in space if one != name])}")
        choice = space[parent].choice
        if choice is None:
            raise EosError(f"{at}: '{parent}' must be a choice: a field depends on one value of another, or on some")
        values = wanted if isinstance(wanted, (list, tuple)) else [wanted]
        typed[parent] = tuple(_field(parent, value, f"{at}: {parent}") for value in values)
        for value in typed[parent]:
            if value not in choice:
                raise EosError(f"{at}: '{parent}' is never {value!r}{did_you_mean(str(value), map(str, choice))}")
        if not values:
            raise EosError(f"{at}: '{parent}': give at least one value")
    return space[name].model_copy(update={"when": typed}) if typed else space[name]


def corners(space: Mapping[str, Dimension]) -> Iterator[dict[str, Any]]:
    """The combinations of the dimensions' extremes; of every two dimensions alone where all would be too many."""
    ends = {name: _ends(dimension) for name, dimension in space.items()}
    for dimension in space.values():  # each value that decides whether another field varies
        for parent, wanted in (dimension.when or {}).items():
            ends[parent] = tuple(dict.fromkeys((*ends[parent], *wanted)))
    conditional = any(dimension.when for dimension in space.values())
    few = math.prod(map(len, ends.values())) <= CORNERS
    seen: set[str] = set()
    for names in [tuple(ends)] if few else itertools.combinations(ends, 2):
        for values in itertools.product(*(ends[name] for name in names)):
            rest = {} if few else {name: extremes[0] for name, extremes in ends.items()}
            corner = active(space, {**rest, **dict(zip(names, values, strict=True))})
            if conditional and repr(corner) in seen:
                continue
            seen.add(repr(corner))
            yield corner


def _ends(dimension: Dimension) -> tuple[Any, ...]:
    """The extremes, of numbers only the least and the greatest."""
    values = dimension.extremes
    if all(isinstance(value, (int, float)) for value in values):
        return tuple(sorted({min(values), max(values)}))
    return values


def _field(name: str, value: Any, where: str) -> Any:
    """The value in the type of the search's field."""
    field = SearchConfig.model_fields[name]
    annotated: Any = Annotated[field.annotation, field]
    try:
        return TypeAdapter(annotated).validate_python(value)
    except ValidationError as error:
        raise explain(error, where) from None


def _quantity(value: Any, cost: str, where: str) -> Any:
    """A budget written with its unit, as a number."""
    try:
        return parse_quantity(value, COSTS.get_named(cost)) if isinstance(value, str) else value
    except ValueError as error:
        raise EosError(f"{where}: budget: {error}") from None


def _agrees(values: dict[str, Any], corner: Mapping[str, Any], where: str) -> None:
    """Refuse settings that are sound one by one and not together."""
    try:
        SearchConfig.model_validate(values)
    except ValidationError as error:
        named = [name for name in corner if name in str(error.errors()[0]["msg"])]
        shown = ", ".join(f"{name} {corner[name]}" for name in named or corner)
        raise EosError(f"{explain(error, f'{where}: space')}; the space allows {shown}") from None
