"""The finite search space of OperatorBench: mixed parameters, conditions between them, every point in the table.

Three families of operators share one vector of fixed length. What a point's family does not read, and what changes
nothing about its operator, stands at its first choice once ``canonical``: many vectors, one operator.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from eos_platform.benchmark.parameters import FAMILIES, NONE, Config, Knobs, Parameter, Value, parameters
from eos_platform.common.errors import EosError, expected, unknown

if TYPE_CHECKING:
    import numpy as np


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
