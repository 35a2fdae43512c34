"""The space Optuna explores around the inner search: which SearchConfig fields vary, and how."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from eos_platform.errors import EosError, explain, unknown
from eos_platform.search.config import SearchConfig

CORNERS = 256  # at most so many combinations of extremes are tried all together


class Dimension(BaseModel):
    """One field's values: ``{float: [lo, hi], log: true}``, ``{int: [lo, hi], step: 2}`` or ``{choice: [...]}``."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    float_range: tuple[float, float] | None = Field(default=None, alias="float")
    int_range: tuple[int, int] | None = Field(default=None, alias="int")
    choice: tuple[Any, ...] | None = Field(default=None, min_length=1)
    log: bool = False
    step: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @classmethod
    def keys(cls) -> list[str]:
        """The keys as they are written."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @model_validator(mode="after")
    def _one_kind(self) -> Dimension:
        kinds = [kind for kind in (self.float_range, self.int_range, self.choice) if kind is not None]
        if len(kinds) != 1:
            raise ValueError("give exactly one of float: [low, high], int: [low, high] or choice: [...]")
        if self.choice is not None and (self.log or self.step):
            raise ValueError("log and step belong to float and int, not to choice")
        bounds = self.float_range or self.int_range
        if bounds and not all(map(math.isfinite, bounds)):
            raise ValueError("both ends of a range are finite numbers")
        if bounds and bounds[0] > bounds[1]:
            raise ValueError(f"the low end {bounds[0]} is above the high end {bounds[1]}")
        if bounds and self.log and bounds[0] <= 0:
            raise ValueError(f"a logarithmic range starts above 0, not at {bounds[0]}")
        if self.log and self.step and not (self.int_range and self.step == 1):
            raise ValueError("log and step cannot be combined")
        if bounds and self.step and bounds[0] < bounds[1] < bounds[0] + self.step * (1 - 1e-9):
            raise ValueError(f"the step {self.step:g} is longer than the range")
        if self.int_range and self.step and self.step != int(self.step):
            raise ValueError(f"the step of an int range is a whole number, not {self.step}")
        return self

    @property
    def extremes(self) -> tuple[Any, ...]:
        """The values that decide whether the whole dimension is allowed."""
        return self.choice or self.float_range or self.int_range or ()

    def distribution(self) -> BaseDistribution:
        """Optuna's form. Choices that Optuna cannot store (lists) are told to it as JSON."""
        if self.float_range:
            return FloatDistribution(*self.float_range, log=self.log, step=self.step)
        if self.int_range:
            return IntDistribution(*self.int_range, log=self.log, step=int(self.step or 1))
        return CategoricalDistribution([_label(value) for value in self.choice or ()])

    def value(self, told: Any) -> Any:
        """The field's value that Optuna's value stands for."""
        if self.choice is None:
            return told
        return next((value for value in self.choice if _label(value) == told), told)


def _label(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (list, tuple)) else value


def check_space(space: Mapping[str, Dimension], fixed: Mapping[str, Any], where: str) -> dict[str, Dimension]:
    """The space with its choices in the types of the fields.

    Raises:
        EosError: a field the search does not have, one that is also fixed, or a value the search would refuse.
    """
    checked = {}
    for name, dimension in space.items():
        if name not in SearchConfig.model_fields:
            raise EosError(f"{where}: space: {unknown('search field', name, SearchConfig.model_fields)}")
        if name in fixed:
            raise EosError(f"{where}: '{name}' is both fixed in search and varied in space; keep one")
        if dimension.float_range and SearchConfig.model_fields[name].annotation is int:
            raise EosError(f"{where}: space.{name}: a whole number varies as int: [low, high], not float")
        values = [_field(name, value, f"{where}: space: {name}") for value in dimension.extremes]
        if dimension.choice is not None:
            if len({_label(value) for value in values}) < len(values):
                raise EosError(f"{where}: space.{name}.choice: a value is given twice")
            dimension = dimension.model_copy(update={"choice": tuple(values)})
        checked[name] = dimension
    for corner in corners(checked):
        _agrees({**fixed, **corner}, corner, where)
    return checked


def corners(space: Mapping[str, Dimension]) -> Iterator[dict[str, Any]]:
    """The combinations of the dimensions' extremes; of every two dimensions alone where all would be too many."""
    ends = {name: _ends(dimension) for name, dimension in space.items()}
    few = math.prod(map(len, ends.values())) <= CORNERS
    for names in [tuple(ends)] if few else itertools.combinations(ends, 2):
        for values in itertools.product(*(ends[name] for name in names)):
            rest = {} if few else {name: found[0] for name, found in ends.items()}
            yield {**rest, **dict(zip(names, values, strict=True))}


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


def _agrees(values: dict[str, Any], corner: Mapping[str, Any], where: str) -> None:
    """Refuse settings that are sound one by one and not together."""
    try:
        SearchConfig.model_validate(values)
    except ValidationError as error:
        named = [name for name in corner if name in str(error.errors()[0]["msg"])]
        shown = ", ".join(f"{name} {corner[name]}" for name in named or corner)
        raise EosError(f"{explain(error, f'{where}: space')}; the space allows {shown}") from None
