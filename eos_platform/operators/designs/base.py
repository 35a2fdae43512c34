"""What a hand-designed operator declares: where it comes from, and which operator it is at each number of tokens.

"Tokens" are mean visual tokens entering the decoder layers, what "r tokens" means here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from pydantic import JsonValue

from eos_platform.common.errors import EosError, unknown
from eos_platform.operators.spec import OperatorSpec, Regime, SiteSpec, Target

Value = bool | int | float | str
LLAVA = Target(layers=32, grid=(24, 24), model="LLaVA-1.5-7B", vision_layers=23)  # what published counts are for


@dataclass(frozen=True)
class Knob:
    """One hyperparameter a practitioner would tune; its kind is that of its default."""

    name: str
    default: Value
    low: float | None = None  # of a number, ends included
    high: float | None = None
    choices: tuple[Value, ...] = ()  # instead of an interval
    log: bool = False  # a number whose ratios matter, not its differences

    def checked(self, value: Any) -> Value:
        """``value``, if it is one this knob can take.

        Raises:
            EosError: it is not.
        """
        if self.choices:
            if not any(value == choice and type(value) is type(choice) for choice in self.choices):
                raise EosError(f"knob '{self.name}' is {' or '.join(map(str, self.choices))}, not {value!r}")
            return cast(Value, value)
        low, high = self.low or 0, self.high or 0
        kinds = (int,) if isinstance(self.default, int) else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            kind = "a whole number" if kinds == (int,) else "a number"
            raise EosError(f"knob '{self.name}' is {kind} from {low:g} to {high:g}, not {value!r}")
        return type(self.default)(value)


def positions_knob(default: str) -> Knob:
    """Whether tokens that stay keep their positions in the language model, or are numbered anew."""
    return Knob("positions", default, choices=("keep", "renumber"))


class Draft(NamedTuple):
    """An operator before it has a name."""

    sites: tuple[SiteSpec, ...] = ()
    image: tuple[int, int] | None = None


Make = Callable[[Target, float, Mapping[str, Any]], tuple[SiteSpec, ...] | Draft]


@dataclass(frozen=True)
class Design:
    """A published method, or a control, expressed as an operator."""

    name: str
    regime: Regime
    source: str  # authors, arXiv id
    summary: str
    make: Make  # target, tokens (below all of them), every knob's value -> sites of the largest mean within tokens
    knobs: Callable[[Target], tuple[Knob, ...]] = lambda target: ()
    # nominal tokens -> the operator its authors give for LLaVA-1.5 (576 tokens, 32 layers); what differs is said there
    published: Mapping[int, Callable[[], OperatorSpec]] = field(default_factory=dict)
    fixed: bool = False  # one amount of compute, whatever is asked
    prior_of: str = ""  # the feature that is divided by what is usual at its place, which is measured on the model
    films: bool = False  # looks across the frames of a film: targets of one frame are refused
    least: Callable[[Target], int] = lambda target: 1  # tokens that it leaves at least, where all goes at once
    coarse: bool = False  # only some counts exist: what is built may be well below what is asked

    def build(self, target: Target, tokens: float, **knobs: Value) -> OperatorSpec:
        """This design at the largest mean within ``tokens``; all of them is the operator that does nothing.

        Args:
            target: the model.
            tokens: mean visual tokens entering the decoder layers.
            knobs: hyperparameters, by name; default: what the authors chose.

        Raises:
            EosError: an unknown or impossible knob, or a number of tokens this design cannot reach.
        """
        known = {knob.name: knob for knob in self.knobs(target)}
        try:
            for name in knobs:
                if name not in known:
                    raise unknown("knob", name, known)
            values = {name: knob.checked(knobs.get(name, knob.default)) for name, knob in known.items()}
            if not (math.isfinite(tokens) and tokens >= 0):
                raise EosError(f"a mean of {tokens} visual tokens cannot be")
            draft: tuple[SiteSpec, ...] | Draft = ()
            if self.fixed or tokens < target.tokens:
                draft = self.make(target, tokens, values)
        except EosError as error:
            raise EosError(f"design '{self.name}': {error}") from None
        draft = draft if isinstance(draft, Draft) else Draft(draft)
        provenance: dict[str, JsonValue] = {"design": self.name}
        if knobs:
            provenance["knobs"] = dict(knobs)
        operator = OperatorSpec(target=target, sites=draft.sites, image=draft.image, provenance=provenance)
        return operator.model_copy(update={"name": f"{self.name}-{operator.mean_tokens:.4g}"})


def as_published(design: str, nominal: int, *sites: SiteSpec, note: str = "") -> Callable[[], OperatorSpec]:
    """An operator for LLaVA-1.5 with counts as somebody gave them.

    Args:
        design: its name.
        nominal: what its authors call the number of tokens.
        sites: where and how many.
        note: where the counts come from, unless from the authors.
    """
    provenance: dict[str, JsonValue] = {"design": design, "nominal": nominal}
    if note:
        provenance["counts"] = note
    return lambda: OperatorSpec(name=f"{design}-published-{nominal}", target=LLAVA, sites=sites, provenance=provenance)
