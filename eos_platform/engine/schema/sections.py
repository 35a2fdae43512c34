"""The parts of a study file that say how its space is explored: strategy, stopping, constraints, and where to begin."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from eos_platform.common.errors import did_you_mean, shown
from eos_platform.common.strict_types import Flag, Int, Real
from eos_platform.costs.registry import COSTS

Share = Annotated[Real, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class Section(BaseModel):
    """Frozen data in which a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Sampler(Section):
    """What proposes the next search. ``sampler: tpe`` is short for ``sampler: {name: tpe}``."""

    name: str = "tpe"  # one of ``engine.samplers.SAMPLERS``, those of plug-ins too
    seed: Int = Field(default=0, ge=0, lt=2**31)  # each proposal adds its number, and NumPy ends at 2**32

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Scheduler(Section):
    """Which searches are stopped before their end. ``scheduler: none`` stops none."""

    name: Literal["none", "moasha"] = "none"
    grace: Int | None = Field(default=None, ge=1)  # steps no search is stopped before; the first rung
    reduction: Real = Field(default=3.0, ge=1.1, le=100.0)  # one in so many goes on, and rungs lie so far apart
    min_searches: Int = Field(default=4, ge=2)  # searches that must have come to a rung before it stops one
    tie_break: Literal["epsilon-net", "crowding"] = "epsilon-net"
    spare_front: Flag = True  # a search that no other dominates at its rung always goes on
    reach_budget: Flag = True  # one whose compute cannot come down to its budget stops

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if value is None:  # YAML's null: people write it for none
            return {"name": "none"}
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _whole(self) -> Scheduler:
        if self.name == "moasha" and self.grace is None:
            raise ValueError("moasha needs grace: the steps before which no search is stopped")
        if self.name == "none" and (given := sorted(self.model_fields_set - {"name"})):
            raise ValueError(f"'{given[0]}' belongs to moasha; without stopping there is nothing to set")
        return self


class Constraints(Section):
    """What an operator must keep to be on the front, beside its budget. All is measured on the deployed operator.

    Any cost may have a limit, one that another package brings too; what is said here of two is what they may be.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Annotated[Real, Field(gt=0.0, allow_inf_nan=False)]] = Field(init=False)

    accuracy: dict[str, Share] = {}  # at least: of a skill, or of ``all`` questions
    compute_ratio: Real | None = Field(default=None, gt=0.0, le=1.0)  # at most
    prefill_ms: Real | None = Field(default=None, gt=0.0, allow_inf_nan=False)  # at most

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: Any) -> Any:
        for name in values if isinstance(values, dict) else ():
            if name not in cls.model_fields and name not in COSTS:
                near = did_you_mean(str(name), [*cls.model_fields, *COSTS])
                raise ValueError(f"unknown key {shown(name)}{near}")
        return values

    @property
    def limits(self) -> dict[str, float]:
        """What costs may be at most, by their names."""
        known = {"compute_ratio": self.compute_ratio, "prefill_ms": self.prefill_ms, **(self.__pydantic_extra__ or {})}
        return {name: limit for name, limit in known.items() if limit is not None}

    @field_validator("accuracy", mode="before")
    @classmethod
    def _of_all(cls, value: Any) -> Any:
        """``accuracy: 0.9`` is short for ``accuracy: {all: 0.9}``."""
        return {"all": value} if isinstance(value, (int, float)) and not isinstance(value, bool) else value


class WarmStart(Section):
    """Where a study begins: searches that others found worth it are done first, as trials of its own."""

    studies: tuple[str, ...] = ()  # by name, in the same runs folder: the settings of the searches on their fronts
    operators: tuple[str, ...] = ()  # operator files: the settings of the searches that found them, else their cost
    designs: tuple[str, ...] = ()  # hand-designed operators: a search at the cost of each as its authors set it
    parameters: Flag = False  # each search starts from the parameters of the operator nearest to its budget
    max_searches: Int | None = Field(default=None, ge=1)  # searches begun with; default: half of the study

    @field_validator("studies", "operators", "designs", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_operators(self) -> WarmStart:
        if self.parameters and not (self.studies or self.operators or self.designs):
            raise ValueError("parameters: there are no studies, operators or designs to take them from")
        return self
