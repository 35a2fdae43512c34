"""Settings of a comparison."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from eos_platform.common import strict_json, strict_yaml
from eos_platform.common.errors import EosError, brief, explain
from eos_platform.common.former_names import SEARCH
from eos_platform.common.strict_types import Bool, Int, Real
from eos_platform.operators.designs import get_design, suited
from eos_platform.search.config import SearchConfig
from eos_platform.search.deployed import most_samples
from eos_platform.tasks.choice import checked, default_for

RATIOS = (0.33, 0.22, 0.15, 0.11, 0.05)
Ratio = Annotated[Real, Field(gt=0.0, le=1.0)]


class Settings(BaseModel):
    """One comparison. ``None`` means the default that depends on the rest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operators: tuple[Path, ...] = ()
    model: str = "bundled"
    task: str | dict[str, Any] = "scenes"
    ratios: tuple[Ratio, ...] | None = Field(
        default=None, description="compute ratios; default: those of the operator files, else RATIOS"
    )
    designs: tuple[str, ...] | None = None  # default: all
    tune: Int = Field(default=0, ge=0, le=100_000, description="Optuna trials for every design at every ratio")
    questions: Int = Field(default=4096, ge=1, le=10_000_000, description="held-out questions")
    seeds: Int | None = Field(default=None, ge=0, le=1000, description="searches a ratio; default: 1, none with files")
    search: dict[str, Any] = {}
    batch: Int = Field(default=8, ge=1, le=4096, description="prompts in the prefill that is timed")
    device_profile: Path | None = Field(
        default=None, description="a file of eos profile: milliseconds of the prefill are also predicted from it"
    )
    pictures: Int = Field(default=3, ge=0, le=24, description="example pictures to show kept tokens on")
    out: Path = Path("eos-compare")
    trust_remote_code: Bool = Field(default=False, description="run Python that lies in the model's folder")
    allow_missing: Bool = Field(default=False, description="draw weights at random that the model's folder lacks")

    @model_validator(mode="before")
    @classmethod
    def _task_of_model(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and fields.get("task") is None:
            return {**fields, "task": default_for(fields.get("model", "bundled"))}
        return fields

    @field_validator("task")
    @classmethod
    def _known_task(cls, task: str | dict[str, Any]) -> str | dict[str, Any]:
        return checked(task)

    @field_validator("designs")
    @classmethod
    def _known_designs(cls, designs: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in designs or ():
            get_design(name)
        return designs

    def design_names(self, frames: int = 1) -> tuple[str, ...]:
        """The designs to compare, each once; by default those that suit pictures, or films of so many frames."""
        return tuple(dict.fromkeys(suited(frames) if self.designs is None else self.designs))

    @property
    def searches(self) -> int:
        """Searches at every ratio."""
        return (0 if self.operators else 1) if self.seeds is None else self.seeds

    @property
    def samples(self) -> int:
        """Question evaluations one search takes at most, and so what the tuning of one design at one ratio may take."""
        return most_samples(self.search_config(1.0, 0))

    @field_validator("search", mode="before")
    @classmethod
    def _under_current_names(cls, search: Any) -> Any:
        return SEARCH.current(search)

    def search_config(self, budget: float, seed: int) -> SearchConfig:
        """The search at one budget.

        Raises:
            EosError: a misspelt or impossible setting.
        """
        for name in ("budget", "seed", "cost"):
            if name in self.search:
                raise EosError(f"--set {name}: budgets are --ratios of compute here, and seeds --seeds")
        return SearchConfig.of({**self.search, "budget": budget, "seed": seed}, "--set")

    @classmethod
    def of(cls, **values: Any) -> Settings:
        """Validate.

        Raises:
            EosError: a value out of bounds, an unknown design, a bad search setting.
        """
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            raise explain(error, "compare", {"": cls.model_fields}) from None
        settings.search_config(1.0, 0)
        if settings.tune > settings.samples:
            raise EosError(f"--tune {settings.tune} trials of the {settings.samples} questions one search sees")
        return settings


def parse_search(texts: Iterable[str]) -> dict[str, Any]:
    """``key=value`` texts as search settings; values are JSON where they can be.

    Raises:
        EosError: no ``=`` in a text.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise EosError(f"--set {brief(text)}: expected key=value, such as steps=480")
        try:
            settings[key.strip()] = strict_json.loads(value)
        except strict_json.NotJson:
            settings[key.strip()] = strict_yaml.scalar(value)  # a word, or .5, which is no JSON
    return settings


def parse_ratios(text: str | None, option: str = "--ratios") -> tuple[float, ...] | None:
    """``.33,.22`` as numbers; None where the option is not given.

    Raises:
        EosError: one is none, or there are none.
    """
    if text is None:
        return None
    try:
        ratios = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        ratios = ()
    if not ratios:
        raise EosError(f"{option} {brief(text)}: expected numbers separated by commas, such as .2,.1")
    return ratios


def parse_designs(text: str | None) -> tuple[str, ...] | None:
    """``fastv,tome`` as names; None is all of them, ``none`` none."""
    if text is None:
        return None
    return tuple(part.strip() for part in text.split(",") if part.strip() and part.strip() != "none")
