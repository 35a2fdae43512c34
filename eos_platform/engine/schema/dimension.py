"""One field's values in a study's space, and their form in Optuna."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial
from pydantic import BaseModel, ConfigDict, Field, model_validator

from eos_platform.common import strict_json
from eos_platform.common.strict_types import Flag, Int, Real

MANY = 10_000  # points of a grid: more are no grid any more


class Dimension(BaseModel):
    """One field's values: ``{float: [lo, hi], log: true}``, ``{int: [lo, hi], step: 2}`` or ``{choice: [...]}``."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    float_range: tuple[Real, Real] | None = Field(default=None, alias="float")
    int_range: tuple[Int, Int] | None = Field(default=None, alias="int")
    choice: tuple[Any, ...] | None = Field(default=None, min_length=1)
    log: Flag = False
    step: Real | None = Field(default=None, gt=0, allow_inf_nan=False)
    # the field varies only where another has this value, or one of these; elsewhere it keeps its default
    when: dict[str, Any] | None = Field(default=None, min_length=1)

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
    def points(self) -> Sequence[Any] | None:
        """Every value there is, as Optuna is told it, or None for a range without steps."""
        if self.choice is not None:
            return tuple(map(label, self.choice))
        if self.int_range:
            return range(self.int_range[0], self.int_range[1] + 1, int(self.step or 1))
        if self.float_range and self.float_range[0] == self.float_range[1]:
            return (self.float_range[0],)
        if self.float_range and self.step:
            steps = int((self.float_range[1] - self.float_range[0]) / self.step + 1e-9)
            return [self.float_range[0] + number * self.step for number in range(min(steps, MANY) + 1)]
        return None

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
        return CategoricalDistribution([label(value) for value in self.choice or ()])

    def ask(self, trial: BaseTrial, name: str) -> Any:
        """Have ``trial`` choose the field's value."""
        stored: Any
        if self.float_range:
            stored = trial.suggest_float(name, *self.float_range, log=self.log, step=self.step)
        elif self.int_range:
            stored = trial.suggest_int(name, *self.int_range, log=self.log, step=int(self.step or 1))
        else:
            stored = trial.suggest_categorical(name, [label(value) for value in self.choice or ()])
        return self.value(stored)

    def to_optuna(self, value: Any) -> Any:
        """What Optuna is told for the field's value: the other way round.

        Raises:
            ValueError: the dimension does not hold it.
        """
        distribution, stored = self.distribution(), label(value)
        try:
            if distribution._contains(distribution.to_internal_repr(stored)):
                return stored
        except (TypeError, ValueError):
            pass
        raise ValueError(f"{value!r} is outside of the space")

    def value(self, stored: Any) -> Any:
        """The field's value that Optuna's value stands for."""
        if self.choice is None:
            return stored
        return next((value for value in self.choice if label(value) == stored), stored)


def label(value: Any) -> Any:
    return strict_json.dumps(value) if isinstance(value, (list, tuple)) else value
