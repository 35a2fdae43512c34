"""What the sites of an operator ask of a model, and which of them do anything at all."""

from __future__ import annotations

from eos_platform.operators.reduce import needed as read_by_reduce
from eos_platform.operators.spec import OperatorSpec, SiteSpec

RATED = {"raters", "corrected"}  # features that need to know which text tokens rate visual ones
OPENING = RATED | {"relevance", "question"}  # features that rest on what enters the language model


def needed(site: SiteSpec, tokens: int) -> tuple[str, ...]:
    """What a site reads when ``tokens`` visual tokens arrive: features by name, ``keys``, ``text_pivots``."""
    return () if site.is_noop(tokens) else read_by_reduce(site, tokens)


def arrivals(operator: OperatorSpec, place: str) -> list[tuple[SiteSpec, int]]:
    """The sites of one place, each with the visual tokens that arrive there."""
    return [found for found in zip(operator.sites, operator.incoming, strict=True) if found[0].place == place]


def decoder_needs(operator: OperatorSpec | None) -> set[str]:
    """What the sites in the decoder read."""
    found = [] if operator is None else arrivals(operator, "decoder")
    return {name for site, tokens in found for name in needed(site, tokens)}


def working_sites(operator: OperatorSpec, place: str) -> list[SiteSpec]:
    """The sites of one place, from the first one that changes anything."""
    found = arrivals(operator, place)
    # of tokens that already stand for several, or with gaps between, even a site that keeps all may say something new
    arriving = operator.arriving if place == "tower" else operator.entering
    for number, (site, tokens) in enumerate(found):
        if arriving != operator.target.tokens or not site.is_noop(tokens):
            return [site for site, _ in found[number:]]
    return []


def acts_in_tower(operator: OperatorSpec) -> bool:
    """Whether other visual tokens leave the vision tower than without the operator."""
    return operator.sees_less or bool(working_sites(operator, "tower"))
