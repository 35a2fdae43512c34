"""What a server's engine can do of an operator: all of it exactly, a part of it, or nothing, and why.

vLLM keeps every token of a prompt in the key-value cache of every layer, and settles how many tokens a picture has
before it looks at it. So what can be served exactly is what happens between projector and language model, by what is
known there: the visual tokens, the last block of a LLaVA's vision tower, and the text of the prompt. Sizes and kept
positions are carried on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from eos_platform.common.errors import EosError, unknown
from eos_platform.operators.plan import FROM_LAYER, TOWER_FEATURES, OperatorPlan, PlannedSite
from eos_platform.operators.spec import OperatorSpec

ENGINES = ("vllm",)
NEXT_BLOCK = "next_vision"  # of the block after the last one used, which vLLM does not build
OF_TOKENS = ("norm", "uniqueness")  # found of the tokens themselves
KNOWN = ("vision", "keys", "relevance", "question", *OF_TOKENS)  # where pictures are encoded
INSIDE = ("vision", "last_text", "mean_text", "question", *OF_TOKENS)  # before a later layer


class Verdict(StrEnum):
    """How an operator can be served."""

    EXACT = "exact"
    APPROXIMATE = "approximate"
    REFUSED = "refused"


@dataclass(frozen=True)
class ServingPlan:
    """What an engine does of an operator.

    Attributes:
        operator: as it was given.
        served: what of it is at work in the engine; None: it is refused.
        verdict: whether that is all of it.
        reasons: why it is not, a line each.
        notes: what serving it brings with it, a line each.
    """

    operator: OperatorSpec
    served: OperatorSpec | None
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, operator: OperatorSpec, engine: str = "vllm", inside: bool = False) -> ServingPlan:
        """Compile an operator for an engine.

        Args:
            inside: whether sites inside the language model may be served (``serve/vllm/inside.py``).

        Raises:
            EosError: an engine that is none.
        """
        check_engine(engine)
        plan = OperatorPlan.of(operator)
        refusals = tuple(_refusals(plan))
        if refusals:
            return cls(operator, None, Verdict.REFUSED, refusals)
        later = [planned for planned in plan.decoder if planned.active and planned.site.layer > 0]
        if not later:
            return cls(operator, operator, Verdict.EXACT, notes=tuple(_notes(plan)))
        if inside and not (reasons := tuple(_unknown_inside(later))):
            return cls(operator, operator, Verdict.EXACT, notes=(*_notes(plan), *_notes_inside(plan)))
        reasons = (
            reasons
            if inside
            else tuple(
                f"sites.{planned.number} before layer {planned.site.layer} ({planned.incoming} -> {planned.site.keep}):"
                " inside the language model; the engine keeps every token in every layer's cache"
                for planned in later
            )
        )
        first = tuple(site for site in operator.sites if site.layer == 0)
        served = operator.model_copy(update={"sites": first, "name": f"{operator.name}-served"[:60]})
        if OperatorPlan.of(served).first_layer is None:
            return cls(operator, None, Verdict.REFUSED, (*reasons, "nothing is left that acts before the first layer"))
        return cls(operator, served, Verdict.APPROXIMATE, reasons, tuple(_notes(OperatorPlan.of(served))))

    def taken(self, approximate: bool = False) -> OperatorSpec:
        """What is served.

        Args:
            approximate: whether leaving sites out is agreed to.

        Raises:
            EosError: it is refused, or not all of it can be served and that is not agreed to.
        """
        if self.served is None:
            raise EosError(f"operator '{self.operator.name}' cannot be served: {self.reasons[0]}")
        if self.verdict is Verdict.APPROXIMATE and not approximate:
            raise EosError(
                f"operator '{self.operator.name}' is served in part only (--approximate agrees): {self.reasons[0]}"
            )
        return self.served


@dataclass(frozen=True)
class LayerZero:
    """A servable operator's active sites, and what a server must know of them before it runs.

    Attributes:
        plan: compiled, for pictures of the usual grid.
        sites: those that act.
    """

    plan: OperatorPlan
    sites: tuple[PlannedSite, ...]

    @classmethod
    def of(cls, plan: OperatorPlan) -> LayerZero:
        """Of an operator that ``ServingPlan`` serves."""
        return cls(plan, plan.by_layer.get(0, ()))

    @property
    def kept(self) -> int:
        """Tokens a picture has in the language model."""
        return self.sites[-1].site.keep if self.sites else self.plan.tokens

    @property
    def extent(self) -> int:
        """Positions a picture takes up, where these have one axis: more than it has tokens where gaps are left."""
        renumbered = [planned.site.keep for planned in self.sites if planned.site.positions == "renumber"]
        return renumbered[-1] if renumbered else self.plan.tokens

    @property
    def keeps_positions(self) -> bool:
        """Whether tokens stand with gaps between them."""
        return self.kept != self.extent

    @property
    def sized(self) -> bool:
        """Whether later attention is biased by the sizes of tokens."""
        return bool(self.sites) and self.sites[-1].site.beta > 0

    @property
    def reads_text(self) -> bool:
        """Whether the text of the prompt decides."""
        return bool({"question", "relevance"} & set(self.plan.features))


def digest(operator: OperatorSpec) -> str:
    """Sixteen digits that tell operators apart, for the keys of caches."""
    return hashlib.sha256(operator.to_json().encode()).hexdigest()[:16]


def check_engine(engine: str) -> None:
    """Refuse an engine that is none.

    Raises:
        EosError: it is not one of ``ENGINES``.
    """
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)


def _refusals(plan: OperatorPlan) -> Iterator[str]:
    if plan.arriving != plan.tokens:
        yield "pictures are shrunk before the vision tower, which belongs to the engine"
    for planned in plan.tower:
        if planned.active:
            yield f"sites.{planned.number} in the vision tower, which belongs to the engine"
    for planned in plan.decoder:
        if not planned.active or planned.site.layer:
            continue
        if planned.site.scope == "film":
            yield f"sites.{planned.number} looks across frames, which the engine encodes and reduces one by one"
        if planned.site.keep == 0:
            yield f"sites.{planned.number} leaves no visual token; ask without a picture instead"
        unknown_there = sorted(set(planned.features) - set(KNOWN))
        for name in unknown_there:
            why = "is read in the language model, which has not begun where pictures are encoded"
            if name == NEXT_BLOCK:
                why = "is read in a block of the vision tower that the engine does not build"
            elif name in TOWER_FEATURES:
                why = "is not read in the engine's vision tower"
            elif name not in FROM_LAYER:
                why = "is not known where pictures are encoded"
            yield f"sites.{planned.number}: '{name}' {why}"


def _unknown_inside(later: list[PlannedSite]) -> Iterator[str]:
    """Why sites inside the language model cannot be served even so."""
    for planned in later:
        for name in sorted(set(planned.features) - set(INSIDE)):
            yield f"sites.{planned.number}: '{name}' is not read inside the engine's language model"
        if planned.site.scope == "film":
            yield f"sites.{planned.number} looks across frames, which the engine reduces one by one"
        if planned.site.positions == "renumber":
            yield f"sites.{planned.number}: positions are kept inside the engine's language model, not renumbered"
        if planned.site.keep == 0:
            yield f"sites.{planned.number} leaves no visual token"


def _notes_inside(plan: OperatorPlan) -> Iterator[str]:
    layers = ", ".join(str(layer) for layer in sorted(plan.by_layer) if layer > 0)
    yield (
        f"tokens leave before layer {layers} as well: that saves compute, not cache; prefix caching and chunked prefill"
        " are off, and the engine is vLLM's for CPUs"
    )


def _notes(plan: OperatorPlan) -> Iterator[str]:
    served = LayerZero.of(plan)
    yield f"{plan.tokens} -> {served.kept} visual tokens per image or tile: cache, scheduler and length limits follow"
    if served.sized:
        yield "sizes take up spare dimensions of every head, KV cache included (128 -> 136: 6 % more per token)"
    if served.keeps_positions:
        yield "kept positions use the engine's support for positions of several axes"
    if served.reads_text:
        yield "the question decides: an image is encoded, and its prefix cached, anew for every question"
