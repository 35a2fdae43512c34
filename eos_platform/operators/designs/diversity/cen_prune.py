"""Cen-Prune: unlike tokens, once the picture's mean is taken off and each weighs by how unlike the others it is.

Source: Wen, Lee, Choi, "Cen-Prune", 2026 (a preprint without an arXiv number; no code was published). A plug-in for
greedy diversity rules: ``cen-divprune`` for DivPrune (arXiv 2503.02175), ``cen-cdpruner`` for CDPruner (arXiv
2506.10967).

Parameters: before the language model, similarity ``centred``, gamma = 0, positions renumbered. ``cen-divprune``:
selector ``diverse_topk`` on ``uniqueness``, weighing ``product``, spread 1: always the largest product of uniqueness
(brought to [0, 1]) and distance to those picked. ``cen-cdpruner``: selector ``dpp`` on ``relevance`` and
``uniqueness``, mixing ``product``.

Deviations: the first token is the most unique one, where DivPrune's rule takes that farthest from its nearest
neighbour; distances below .001 are equal; relevance as in ``cdpruner``; tokens are compared after the projector in
every family (the authors: before it where a merger follows).

Published: 128, 64 and 32; of CDPruner 128 and 64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, as_published, positions_knob
from eos_platform.operators.designs.schedule import whole
from eos_platform.operators.spec import SiteSpec, Target


def _unlike(keep: int, positions: str = "renumber") -> SiteSpec:
    return SiteSpec(
        layer=0,
        keep=keep,
        selector="diverse_topk",
        score={"uniqueness": 1.0},
        weighing="product",
        spread=1.0,
        similarity="centred",
        positions=positions,  # type: ignore[arg-type]
    )


def _relevant(keep: int, positions: str = "renumber") -> SiteSpec:
    return SiteSpec(
        layer=0,
        keep=keep,
        selector="dpp",
        score={"relevance": 1.0, "uniqueness": 1.0},
        mixing="product",
        similarity="centred",
        positions=positions,  # type: ignore[arg-type]
    )


def _make_unlike(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    return (_unlike(whole(tokens), knobs["positions"]),)


def _make_relevant(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    return (_relevant(whole(tokens), knobs["positions"]),)


CEN_DIVPRUNE = Design(
    "cen-divprune",
    "prune",
    "Wen et al., 2026, Cen-Prune",
    "keeps unique, unlike tokens, centred",
    _make_unlike,
    lambda target: (positions_knob("renumber"),),
    {nominal: as_published("cen-divprune", nominal, _unlike(nominal)) for nominal in (128, 64, 32)},
)
CEN_CDPRUNER = Design(
    "cen-cdpruner",
    "prune",
    "Wen et al., 2026, Cen-Prune",
    "the same, relevant to the question",
    _make_relevant,
    lambda target: (positions_knob("renumber"),),
    {nominal: as_published("cen-cdpruner", nominal, _relevant(nominal)) for nominal in (128, 64)},
)
