"""What a transfer matrix holds: every operator in every place, in each of some ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from eos_platform.analysis.transfer.hardware import KEYS
from eos_platform.analysis.transfer.places import Place, parse_places
from eos_platform.common.errors import EosError, explain, shown, unknown
from eos_platform.common.strict_types import Int, Real
from eos_platform.search.config import SearchConfig

UNREDUCED, ANEW = "unreduced", "searched anew"
UNCHANGED = "unchanged"
ZERO_SHOT, CARRIED, CALIBRATED = "zero-shot", "carried", "calibrated"
ADAPTED, ADAPTED_CARRIED, ADAPTED_CALIBRATED = "adapted", "adapted-carried", "adapted-calibrated"
WAYS = {
    UNCHANGED: "its shares of layers and tokens as they were found; it may cost more than the budget, or less",
    ZERO_SHOT: "rescaled, its counts scaled to the budget",
    CARRIED: "the same with its learned directions mapped into the new hidden space",
    CALIBRATED: "adjusted to the model without labels: directions from its own answers, settings by KL divergence",
    ADAPTED: "the rescaled operator after a few steps of search, unless these make it worse on validation questions",
    ADAPTED_CARRIED: "the mapped one after a few steps of search, likewise",
    ADAPTED_CALIBRATED: "the calibrated one after a few steps of search, likewise",
}


class Settings(BaseModel):
    """A matrix."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    places: tuple[str, ...] = Field(min_length=1)
    operators: tuple[str, ...] = ()
    budgets: tuple[Real, ...] = Field(
        default=(0.2, 0.1), min_length=1, description="shares of what the unreduced model costs at a place"
    )
    ways: tuple[str, ...] = (ZERO_SHOT, CALIBRATED, ADAPTED_CALIBRATED)
    seeds: Int = Field(default=1, ge=0, le=100, description="searches anew; 0: operators of files alone")
    steps: Int = Field(default=480, ge=4, description="of a search anew")
    adapt_steps: Int = Field(default=40, ge=4, description="from an operator found elsewhere")
    questions: Int = Field(default=2048, ge=1, description="held-out, of each cell")
    search: dict[str, Any] = {}

    @field_validator("budgets")
    @classmethod
    def _are_ratios(cls, budgets: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(budgets)) < len(budgets) or not all(0 < one < 1 for one in budgets):
            raise ValueError("shares of the compute (or of a place's own cost) between 0 and 1, each once")
        return budgets

    @field_validator("ways")
    @classmethod
    def _are_known(cls, ways: tuple[str, ...]) -> tuple[str, ...]:
        for way in ways:
            if way not in WAYS:
                raise ValueError(str(unknown("way", way, WAYS)))
        return ways

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str = "transfer") -> Settings:
        """Validated, searches' settings too.

        Raises:
            EosError: what is wrong.
        """
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            raise explain(error, where) from None
        if not (settings.seeds or settings.operators):
            raise EosError(f"{where}: no searches (seeds 0) and no operator files: there is nothing to transfer")
        names = [place.name for place in parse_places(settings.places)]
        names += [Path(file).stem for file in settings.operators]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise EosError(f"operator file {shown(name)}: a place or another file has this name")
        for budget in settings.budgets:
            settings.config(budget, 0, settings.steps)
        return settings

    def config(self, budget: float, seed: int, steps: int) -> SearchConfig:
        """Of one search, whose budget is a share; one start unless ``search`` says otherwise.

        Raises:
            EosError: a setting that there is not.
        """
        own = {"budget": budget, "seed": seed, "steps": steps}
        for name in own:
            if name in self.search:
                raise EosError(f"--set {name}: a matrix has its own {name}")
        for name in KEYS:
            if name in self.search:
                raise EosError(f"--set {name}: in a matrix a place has it, as in MODEL:{name}={self.search[name]}")
        return SearchConfig.of({"portfolio": False, **self.search, **own}, "--set")


@dataclass(frozen=True)
class Item:
    """One cell.

    Attributes:
        kind: ``UNREDUCED``, ``ANEW``, or one of ``WAYS``.
        place: where it is measured.
        source: the place, or the file, that the operator is from; of those measured where they were found, the place.
        budget: share of what the unreduced model costs; 1 of that model.
        seed: of the search that found it.
    """

    kind: str
    place: str
    source: str
    budget: float
    seed: int

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"{self.kind}|{self.source}|{self.place}|{self.budget:g}|{self.seed}"

    @property
    def name(self) -> str:
        """For people."""
        if self.kind == UNREDUCED:
            return f"{self.place}: unreduced"
        origin = "" if self.kind == ANEW else f"from {self.source}, "
        return f"{self.place} at {self.budget:g}: {origin}{self.kind}, seed {self.seed}"


def first_items(settings: Settings) -> list[Item]:
    """What rests on nothing else: the unreduced models, and the searches anew."""
    names = [place.name for place in parse_places(settings.places)]
    found = [Item(UNREDUCED, name, name, 1.0, 0) for name in names]
    return found + [
        Item(ANEW, name, name, budget, seed)
        for name in names
        for budget in settings.budgets
        for seed in range(settings.seeds)
    ]


def transfers(settings: Settings) -> list[Item]:
    """Operators elsewhere than where they were found; those of files everywhere."""
    return sorted(_transfers(settings), key=lambda item: item.place)


def _transfers(settings: Settings) -> Iterator[Item]:
    names = [place.name for place in parse_places(settings.places)]
    for budget in settings.budgets:
        for way in settings.ways:
            for place in names:
                for source in names:
                    if source != place:
                        yield from (Item(way, place, source, budget, seed) for seed in range(settings.seeds))
                yield from (Item(way, place, Path(file).stem, budget, 0) for file in settings.operators)


def places_by_name(settings: Settings) -> dict[str, Place]:
    """Every place."""
    return {place.name: place for place in parse_places(settings.places)}
