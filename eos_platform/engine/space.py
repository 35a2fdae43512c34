"""The space Optuna explores around the inner search: which SearchConfig fields vary, and how."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import BaseModel, ConfigDict, Field, model_validator

from eos_platform.errors import EosError, unknown
from eos_platform.search.config import SearchConfig


class Dimension(BaseModel):
    """One field's values: ``{float: [lo, hi], log: true}``, ``{int: [lo, hi], step: 2}`` or ``{choice: [...]}``."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    float_range: tuple[float, float] | None = Field(default=None, alias="float")
    int_range: tuple[int, int] | None = Field(default=None, alias="int")
    choice: tuple[Any, ...] | None = Field(default=None, min_length=1)
    log: bool = False
    step: float | None = Field(default=None, gt=0)

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
        if bounds and bounds[0] > bounds[1]:
            raise ValueError(f"the low end {bounds[0]} is above the high end {bounds[1]}")
        if bounds and self.log and bounds[0] <= 0:
            raise ValueError(f"a logarithmic range starts above 0, not at {bounds[0]}")
        if self.log and self.step and not (self.int_range and self.step == 1):
            raise ValueError("log and step cannot be combined")
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
        return next(value for value in self.choice if _label(value) == told)


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
        values = [
            getattr(SearchConfig.of({**fixed, name: value}, f"{where}: space"), name) for value in dimension.extremes
        ]
        if dimension.choice is not None:
            if len({_label(value) for value in values}) < len(values):
                raise EosError(f"{where}: space.{name}.choice: a value is given twice")
            dimension = dimension.model_copy(update={"choice": tuple(values)})
        checked[name] = dimension
    return checked
