"""The finite search space of OperatorBench: mixed parameters, conditions between them, every point in the table.

Three families of operators share one vector of fixed length. What a point's family does not read, and what changes
nothing about its operator, stands at its first choice once ``canonical``: many vectors, one operator.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eos_platform.common.errors import EosError, expected, unknown

if TYPE_CHECKING:
    import numpy as np

Value = bool | int | float | str
Config = dict[str, Value]
FAMILIES = ("composed", "design", "searched")
NONE = -1  # of ``second_layer``: there is no second site


@dataclass(frozen=True)
class Parameter:
    """One coordinate.

    Attributes:
        name: in configurations, and of the table's column.
        choices: all it can be; of an ordered one from small to large.
        ordered: whether neighbouring choices are alike.
        about: what it does, for people.
        condition: when it counts, for people; empty: always.
    """

    name: str
    choices: tuple[Value, ...]
    ordered: bool
    about: str
    condition: str = ""

    def index(self, value: object) -> int:
        """The place of a choice.

        Raises:
            EosError: it is none of them.
        """
        for place, choice in enumerate(self.choices):
            if choice == value and isinstance(value, bool) == isinstance(choice, bool):
                return place
        raise EosError(f"{self.name}: {value!r} is none of {', '.join(map(str, self.choices))}")


@dataclass(frozen=True)
class Knobs:
    """What stands behind ``knob_number`` and ``knob_choice`` of one design.

    Attributes:
        number: the knob's name, and its values: as published, lower, higher. Fewer where it stands at a bound.
        choice: the knob's name, and its values: as published, otherwise.
    """

    number: tuple[str, tuple[Value, ...]] | None = None
    choice: tuple[str, tuple[Value, ...]] | None = None


def parameters(designs: Mapping[str, Knobs]) -> tuple[Parameter, ...]:
    """The coordinates, each after those that its condition reads.

    Args:
        designs: that the model can run, with their knobs.
    """
    composed, design, searched = (f"family = {name}" for name in FAMILIES)
    return (
        Parameter("family", FAMILIES, False, "composed of rules, a published design, or found by a gradient search"),
        Parameter("first_layer", (0, 2), True, "decoder layer that the first site stands before", composed),
        Parameter(
            "keep", (0.05, 0.1, 0.2, 0.4, 0.7), True, "share of the visual tokens that the first site leaves", composed
        ),
        Parameter("second_layer", (NONE, 3, 4), True, "layer of a second site; -1: there is none", composed),
        Parameter("second_keep", (0.25, 0.5), True, "share of those that it leaves", f"{composed}, second_layer > 0"),
        Parameter("text", (0, 1), True, "weight of the last text token's attention", f"{composed}, a later site"),
        Parameter("uniqueness", (0, 1), True, "weight of how unlike the other tokens a token is", composed),
        Parameter(
            "probe",
            ("none", "learned", "steered"),
            True,
            "a direction of the hidden space that a search has learned; steered: turned by the question",
            composed,
        ),
        Parameter(
            "spread",
            (0.0, 0.5, 1.5, 5.0),
            True,
            "how much tokens that stay must differ (diverse_topk); 0: the best scores. Without any score: evenly spaced"
            " at 0, the farthest else",
            composed,
        ),
        Parameter(
            "transfer",
            ("none", "nearest", "soft"),
            False,
            "what becomes of dropped tokens: discarded, merged into the most similar, or spread softly",
            composed,
        ),
        Parameter("size_bias", (0, 1), True, "log of the size in later attention", f"{composed}, transfer is not none"),
        Parameter("design", tuple(sorted(designs)), False, "its name", design),
        Parameter(
            "ratio",
            (0.05, 0.1, 0.15, 0.2, 0.3, 0.5),
            True,
            "compute ratio that it is fitted to; where its cheapest form is dearer, that",
            design,
        ),
        Parameter(
            "knob_number", (0, 1, 2), False, "its first number: as published, lower, higher", f"{design}, it has one"
        ),
        Parameter(
            "knob_choice",
            (0, 1),
            False,
            "its last choice: as published, otherwise",
            f"{design}, it has one",
        ),
        Parameter("budget", (0.08, 0.12, 0.2, 0.3), True, "compute ratio that the search must meet", searched),
        Parameter("learning_rate", (0.02, 0.05, 0.1), True, "of the search", searched),
        Parameter("steering_rank", (0, 8), True, "of the search", searched),
    )


def _number(design: Knobs) -> int:
    return len(design.number[1]) if design.number else 1


class Space:
    """All points of one model's table.

    Attributes:
        parameters: the coordinates, in order.
        designs: what the model can run, with their knobs.
        families: of the points, all or some of ``FAMILIES``.
    """

    def __init__(self, designs: Mapping[str, Knobs], families: tuple[str, ...] = FAMILIES) -> None:
        """
        Raises:
            EosError: an unknown family, or none.
        """
        for name in families:
            if name not in FAMILIES:
                raise unknown("family", name, FAMILIES)
        if not families:
            raise EosError("families: at least one is needed")
        self.designs = dict(designs)
        self.families = tuple(name for name in FAMILIES if name in families)
        first, *others = parameters(self.designs)
        own = Parameter(first.name, self.families, first.ordered, first.about)
        kept = [one for one in others if any(f"family = {name}" in one.condition for name in self.families)]
        self.parameters: tuple[Parameter, ...] = (own, *kept)
        self._of = {one.name: one for one in self.parameters}

    def __len__(self) -> int:
        """How many parameters a point has."""
        return len(self.parameters)

    def __repr__(self) -> str:
        listed = "\n".join(
            f"  {one.name}: {', '.join(map(str, one.choices))}" + (f"  ({one.condition})" if one.condition else "")
            for one in self.parameters
        )
        return f"Space of {len(self)} parameters\n{listed}"

    def __getitem__(self, name: str) -> Parameter:
        if name not in self._of:
            raise unknown("parameter", name, self._of)
        return self._of[name]

    def choices(self, name: str, config: Mapping[str, Value]) -> tuple[Value, ...]:
        """What a parameter can be, given those before it; a single choice: it does not count.

        Args:
            config: at least the parameters before it that count.
        """
        one = self[name]
        if self.counts(name, config):
            if name == "knob_number":
                return one.choices[: _number(self.designs[str(config["design"])])]
            return one.choices
        return one.choices[:1]

    def counts(self, name: str, config: Mapping[str, Value]) -> bool:
        """Whether a parameter changes anything, given those before it."""
        return name == "family" or (
            name in _READ_BY[str(config["family"])] and _ACTIVE.get(name, _always)(self, config)
        )

    def canonical(self, config: Mapping[str, Any]) -> Config:
        """The same operator with everything that does not count at its first choice.

        Raises:
            EosError: a parameter that counts is missing, one is unknown, or a value is none of its choices.
        """
        if not isinstance(config, Mapping):
            raise expected("config", "a mapping of parameters to values", config)
        for name in config:
            if name not in self._of:
                raise unknown("parameter", name, self._of)
        full: Config = {}
        for one in self.parameters:
            choices = self.choices(one.name, full)
            if len(choices) == 1:
                full[one.name] = choices[0]
                continue
            if one.name not in config:
                raise EosError(
                    f"config: parameter '{one.name}' is missing; it is one of {', '.join(map(str, choices))}"
                )
            # what lies beyond this design's values is its last one
            full[one.name] = choices[min(one.index(config[one.name]), len(choices) - 1)]
        if full["family"] == "composed" and _scoreless(full) and full["spread"]:
            full["spread"] = self["spread"].choices[1]  # the farthest tokens, whatever the spread
        return full

    def sample(self, rng: np.random.Generator | random.Random) -> Config:
        """A point: each parameter that counts drawn evenly from its choices, one after the other.

        Args:
            rng: of numpy, or of Python's ``random``.
        """
        full: Config = {}
        for one in self.parameters:
            choices = self.choices(one.name, full)
            full[one.name] = choices[int(rng.random() * len(choices))]
        return self.canonical(full)

    def points(self) -> Iterator[Config]:
        """Every canonical point once."""
        seen: set[tuple[Value, ...]] = set()
        for full in self._walk(0, {}):
            point = self.canonical(full)
            key = tuple(point.values())
            if key not in seen:
                seen.add(key)
                yield point

    def _walk(self, at: int, before: Config) -> Iterator[Config]:
        if at == len(self.parameters):
            yield before
            return
        name = self.parameters[at].name
        for choice in self.choices(name, before):
            yield from self._walk(at + 1, {**before, name: choice})

    def indices(self, config: Mapping[str, Any]) -> tuple[int, ...]:
        """Coordinates of a point: the place of each parameter's canonical choice."""
        full = self.canonical(config)
        return tuple(one.index(full[one.name]) for one in self.parameters)

    def vector(self, config: Mapping[str, Any]) -> list[float]:
        """The same between 0 and 1, for optimisers that know numbers alone."""
        return [
            place / max(1, len(one.choices) - 1)
            for place, one in zip(self.indices(config), self.parameters, strict=True)
        ]

    def of_vector(self, vector: Any) -> Config:
        """The point nearest to numbers between 0 and 1; what lies outside counts as the bound.

        Raises:
            EosError: another number of them, or one that is none.
        """
        numbers = [float(value) for value in vector]
        if len(numbers) != len(self) or any(value != value for value in numbers):
            raise EosError(f"vector: {len(self)} numbers from 0 to 1 are expected")
        places = (
            min(len(one.choices) - 1, max(0, int(min(1.0, max(0.0, value)) * len(one.choices))))
            for value, one in zip(numbers, self.parameters, strict=True)
        )
        return self.canonical(
            {one.name: one.choices[place] for one, place in zip(self.parameters, places, strict=True)}
        )


def _always(space: Space, config: Mapping[str, Value]) -> bool:
    return True


def _scoreless(config: Mapping[str, Value]) -> bool:
    return not config["text"] and not config["uniqueness"] and config["probe"] == "none"


_ACTIVE: dict[str, Callable[[Space, Mapping[str, Value]], bool]] = {
    "second_keep": lambda space, config: config["second_layer"] != NONE,
    "text": lambda space, config: config["first_layer"] != 0 or config["second_layer"] != NONE,
    "size_bias": lambda space, config: config["transfer"] != "none",
    "knob_number": lambda space, config: space.designs[str(config["design"])].number is not None,
    "knob_choice": lambda space, config: space.designs[str(config["design"])].choice is not None,
}
_READ_BY = {
    name: frozenset(one.name for one in parameters({}) if f"family = {name}" in one.condition) for name in FAMILIES
}

__all__ = ["FAMILIES", "NONE", "Config", "Knobs", "Parameter", "Space", "Value", "parameters"]
