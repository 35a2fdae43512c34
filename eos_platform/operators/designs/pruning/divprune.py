"""DivPrune: keep tokens as far from each other as can be.

Source: Alvar, Singh, Akbari, Zhang, "DivPrune: Diversity-based Visual Token Pruning for Large Multimodal Models",
arXiv 2503.02175.

Parameters: selector ``farthest`` (cosine distance; first the token farthest from its nearest neighbour, then always the
one farthest from all picked) before the language model, gamma = 0, positions renumbered.

Deviations: none.

Published: 56 is the authors' (a ratio of .098); 192, 128 and 64 are of other authors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, as_published, positions_knob
from eos_platform.operators.designs.schedule import whole
from eos_platform.operators.spec import SiteSpec, Target


def _site(keep: int, positions: str = "renumber") -> SiteSpec:
    return SiteSpec(layer=0, keep=keep, selector="farthest", positions=positions)  # type: ignore[arg-type]


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    return (_site(whole(tokens), knobs["positions"]),)


DIVPRUNE = Design(
    "divprune",
    "prune",
    "Alvar et al., arXiv 2503.02175",
    "keeps the tokens farthest from each other",
    _make,
    lambda target: (positions_knob("renumber"),),
    {
        nominal: as_published("divprune", nominal, _site(nominal), note="" if nominal == 56 else "other authors")
        for nominal in (192, 128, 64, 56)
    },
)
