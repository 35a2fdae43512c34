"""ToDRE: unlike tokens, taken together; late in the language model, none.

Source: "ToDRE: Visual Token Pruning via Diversity and Task Awareness for Efficient Large Vision-Language Models", arXiv
2505.18757.

Parameters: selector ``max_sum`` on ``vision`` before the language model (first what the class token attends to most,
then always the smallest sum of cosines to all picked), positions renumbered; selector ``drop_all`` before layer 28 of
32. gamma = 0.

Deviations: tokens are withdrawn always, where the original does it only if text and picture attend to each other little
(the authors see no change of accuracy by it); means that are too large for that depth withdraw them later. What becomes
of positions is not said. Read in the paper: no code was published, nor counts for LLaVA-1.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, positions_knob
from eos_platform.operators.designs.schedule import SLACK, depth, whole
from eos_platform.operators.spec import SiteSpec, Target


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    until, keep = _until(target, tokens, knobs["until"])
    unlike = SiteSpec(
        layer=0, keep=keep, selector="max_sum", score={knobs["feature"]: 1.0}, positions=knobs["positions"]
    )
    sites = (unlike,) if keep < target.tokens else ()
    return (*sites, SiteSpec(layer=until, keep=0, selector="drop_all")) if until < target.layers else sites


def _until(target: Target, tokens: float, until: int) -> tuple[int, int]:
    """(layer from which none is left, tokens before it): later where even all tokens are too few by then."""
    n, layers = target.tokens, target.layers
    whole(tokens)
    own = min(until, layers)
    while own < layers and n * own / layers < tokens - SLACK:
        own += 1
    keep = min(n, int(tokens * layers / own + SLACK))
    if own > until and keep * own < n * (own - 1):  # all of them, a layer less, come nearer
        return own - 1, n
    return own, keep


def _knobs(target: Target) -> tuple[Knob, ...]:
    own = max(1, depth(28, target))
    least = min(own, max(1, target.layers // 2))
    features = ("vision", "received")
    return (
        Knob("until", own, least, target.layers),
        Knob("feature", "vision", choices=features),
        positions_knob("renumber"),
    )


TODRE = Design(
    "todre",
    "prune",
    "arXiv 2505.18757",
    "keeps unlike tokens, withdraws them late",
    _make,
    _knobs,
)
