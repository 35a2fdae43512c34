"""What the coordinates of OperatorBench are: their choices, and when they count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eos_platform.common.errors import EosError

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
            "diversity of kept tokens (diverse_topk); 0: the best scores. Without any score: evenly spaced"
            " at 0, else the farthest",
            composed,
        ),
        Parameter(
            "transfer",
            ("none", "nearest", "soft"),
            False,
            "treatment of dropped tokens: discarded, merged into the most similar, or spread softly",
            composed,
        ),
        Parameter("size_bias", (0, 1), True, "log of the size in later attention", f"{composed}, transfer is not none"),
        Parameter("design", tuple(sorted(designs)), False, "name of the design", design),
        Parameter(
            "ratio",
            (0.05, 0.1, 0.15, 0.2, 0.3, 0.5),
            True,
            "compute ratio to match; if its cheapest form costs more, that form",
            design,
        ),
        Parameter(
            "knob_number",
            (0, 1, 2),
            False,
            "its first numeric hyperparameter: as published, lower, higher",
            f"{design}, it has one",
        ),
        Parameter(
            "knob_choice",
            (0, 1),
            False,
            "its last choice: as published, otherwise",
            f"{design}, it has one",
        ),
        Parameter("budget", (0.08, 0.12), True, "compute ratio that the search must meet", searched),
        Parameter("learning_rate", (0.02, 0.05, 0.1), True, "of the search", searched),
        Parameter("steering_rank", (0, 8), True, "of the search", searched),
    )
