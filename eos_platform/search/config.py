"""The settings of one differentiable search, with defaults and bounds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from eos_platform.common import former_names
from eos_platform.common.errors import EosError, explain
from eos_platform.common.strict_types import Flag, Int, Real
from eos_platform.costs.quantity import parse_quantity
from eos_platform.costs.registry import COMPUTE, COSTS
from eos_platform.protocols import Setting

Positive = Annotated[Real, Field(gt=0.0, allow_inf_nan=False)]
LATER = (
    "cost",
    "cost_batch",
    "cost_mode",
    "cost_answer",
    "device_profile",
    "servable",
    "start",
    "portfolio",
    "metric_rank",
    "generalist",
    "scope",
)  # fields that files leave out at their default
Weight = Annotated[Real, Field(ge=0.0, allow_inf_nan=False)]


class SearchConfig(BaseModel):
    """One inner search. A study's Optuna space names these fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cost: str = Field(default=COMPUTE, description="what the budget is about: a cost's name")
    budget: Real = Field(
        default=0.2,
        gt=0.0,
        allow_inf_nan=False,
        description="target value of the cost, with or without its unit; hit means deployed <= budget",
    )
    cost_batch: Int = Field(default=1, ge=1, le=65_536, description="prompts at once, where time or energy is taken")
    cost_mode: Literal["eager", "captured", "compiled"] = Field(
        default="eager",
        description="how the model runs there: eager, or captured as a CUDA graph; compiled: by a device profile alone",
    )
    cost_answer: Int = Field(default=64, ge=1, le=1_000_000, description="tokens decoded, where an answer is timed")
    device_profile: str = Field(
        default="",
        max_length=4096,
        description="a file of eos profile: the cost is predicted from it, and measured only where its device is here",
    )
    steps: Int = Field(default=480, ge=4, le=1_000_000, description="optimiser steps")
    batch_size: Int = Field(default=64, ge=1, le=65_536, description="questions per step")
    learning_rate: Real = Field(default=0.05, gt=0.0, le=1.0, description="of the operator's parameters")
    seed: Int = Field(default=0, ge=0, lt=2**32)
    layers: tuple[Annotated[Int, Field(ge=0)], ...] | None = Field(
        default=None,
        description="candidate sites (before these decoder layers); default: before the language model, and at"
        " five eighths of its depth",
    )
    selector: Literal["diverse_topk", "score"] = Field(
        default="diverse_topk",
        description="of the first site: tokens that score well and differ from each other, or those that score well",
    )
    scope: Literal["frame", "film"] = Field(
        default="frame",
        description="of the sites it places itself: frames of a film reduced one by one, or whole films, where a budget"
        " is one of the clip and tokens are held against other frames; designs that it starts at keep theirs",
    )
    start: str = Field(
        default="default",
        min_length=1,
        max_length=100,
        description="where gradients begin: a design, whose sites, counts and choices the search keeps while it refines"
        " all else; pairs or pairs-late (rounds of merging, then sites of its own); default: sites of its own alone",
    )
    portfolio: Flag | tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        default=True,
        description="try several starts first, drop those that deploy worse, and refine the best (true), or these"
        " alone; false: the start that is set. Of eos search and eos.search; a study varies the start itself",
    )
    probe: Flag = Field(default=True, description="learn a direction of the hidden space as a feature of each site")
    steering_rank: Int = Field(
        default=8,
        ge=0,
        le=1024,
        description="rank of the change that the question makes to the probes; 0: the same tokens for every question",
    )
    metric_rank: Int = Field(
        default=8,
        ge=0,
        le=256,
        description="rank of the metric that a design's sites learn to compare tokens by; 0: the cosine as it is",
    )
    portable: Flag = Field(
        default=False,
        description="keep to what models of every family have, so that the operator can be attached to others"
        " unchanged: no feature of the vision tower, no learned direction (probe, steer)",
    )
    servable: Literal["vllm"] | None = Field(
        default=None,
        description="keep to what this engine serves exactly: one site, before the language model; steered only where"
        " steering_rank says so, as every question about a picture is then encoded by itself",
    )
    generalist: Literal["mean", "worst"] = Field(
        default="mean",
        description="of a search over several models or tasks: the mean of their losses counts, or the worst place's",
    )
    task_weight: Weight = 1.0
    distill_weight: Weight = 1.0
    align_weight: Weight = 0.1
    budget_rule: Literal["exact", "penalty", "two-sided"] = Field(
        default="exact",
        description="exact: the first count is whatever meets the budget; else every count moves, and a penalty on the"
        " excess (penalty) or on any distance (two-sided) holds the budget",
    )
    budget_weight: Positive = Field(
        default=10.0, description="penalty per unit of excess, where the rule is no exact one"
    )
    budget_growth: Weight = Field(default=1.0, description="how fast that multiplier rises while violated")
    cost_weight: Weight = Field(default=0.0, description="price of compute below the budget, under a penalty")
    budget_warm_up: Real = Field(
        default=2.5,
        ge=1.0,
        le=4.0,
        allow_inf_nan=False,
        description="under an exact rule, budgets from .1 to .25 start at this multiple (at most .375); 1: no warm-up",
    )
    temperature_start: Positive = 0.3
    temperature_end: Positive = 0.03
    tau_start: Real = Field(default=0.05, ge=1e-3, le=10.0, description="how softly dropped tokens spread, at first")
    straight_through: Real = Field(default=0.2, ge=0.0, le=0.9, description="last share of steps, on deployed counts")
    support: Literal["all", "window", "nearest"] = "all"
    positions: Literal["keep", "renumber"] = "keep"
    size_bias: Flag = Field(
        default=True, description="merged tokens get a bias by the log of their size in later attention"
    )
    search_questions: Int = Field(
        default=8192, ge=1, le=10_000_000, description="questions of the search split it may see"
    )
    eval_questions: Int = Field(
        default=1024, ge=1, le=10_000_000, description="validation questions for the deployed accuracy"
    )
    eval_every: Int = Field(default=0, ge=0, description="steps between deployed evaluations on the way; 0: none")

    @field_validator("cost")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            return COSTS.get_named(name).name
        except EosError as error:
            raise ValueError(str(error)) from None

    @field_validator("budget", mode="before")
    @classmethod
    def _in_unit(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str) or "cost" not in info.data:
            return value
        return parse_quantity(value, COSTS[info.data["cost"]])

    @field_validator("budget")
    @classmethod
    def _at_most_all(cls, value: float, info: ValidationInfo) -> float:
        if value > 1.0 and "cost" in info.data and COSTS[info.data["cost"]].relative:
            raise PydanticCustomError("less_than_equal", "Input should be less than or equal to 1")
        return value

    @model_validator(mode="after")
    def _has_budget(self) -> SearchConfig:
        cost = COSTS[self.cost]
        if not cost.relative and "budget" not in self.model_fields_set:
            raise ValueError(f"budget: cost {cost.name} needs one, in {cost.unit or 'its own terms'}")
        return self

    @model_validator(mode="before")
    @classmethod
    def _under_current_names(cls, values: Any) -> Any:
        values = former_names.SEARCH.current(values)
        if isinstance(values, dict) and values.get("servable"):
            # what serving leaves out is left out where nothing else was said; what was said is checked below
            values = {"steering_rank": 0, **values}
            values["layers"] = (0,) if values.get("layers") is None else values["layers"]
        return values

    @model_validator(mode="after")
    def _anneals(self) -> SearchConfig:
        if self.temperature_end > self.temperature_start:
            raise ValueError("temperature_end must not be above temperature_start")
        return self

    @model_validator(mode="after")
    def _travels(self) -> SearchConfig:
        given = [name for name in ("probe", "steering_rank") if name in self.model_fields_set and getattr(self, name)]
        if self.portable and given:
            raise ValueError(f"portable leaves {' and '.join(given)} out, as no learned direction fits another model")
        return self

    @model_validator(mode="after")
    def _can_be_served(self) -> SearchConfig:
        if self.servable and self.layers != (0,):
            raise ValueError(
                f"servable: {self.servable} serves sites before the language model; layers is [0] then, or left out"
            )
        return self

    def fields(self, mode: Literal["json", "python"] = "json") -> dict[str, Any]:
        """Every field, as files and stores have them: without those at their default that earlier versions had not.

        Files written before there was a choice of costs, or of starts, then stay equal to new ones.
        """
        fields = type(self).model_fields
        later = {name for name in LATER if getattr(self, name) == fields[name].default}
        return self.model_dump(mode=mode, exclude=later)

    @property
    def setting(self) -> Setting:
        """How the model is run when the cost is taken."""
        return Setting(self.cost_batch, self.cost_mode, self.cost_answer, self.device_profile)

    @property
    def learns_directions(self) -> bool:
        """Whether sites have probes."""
        return self.probe and not self.portable

    @classmethod
    def of(cls, values: dict[str, Any], where: str = "search") -> SearchConfig:
        """Validate a mapping.

        Raises:
            EosError: a misspelt key or a value out of bounds, with its place.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise explain(error, where, {"": cls.model_fields}) from None
