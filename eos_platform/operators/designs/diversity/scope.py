"""SCOPE: keep salient tokens that cover the others.

Source: Deng et al., "SCOPE: Saliency-Coverage Oriented Token Pruning for Efficient Multimodal LLMs", NeurIPS 2025,
arXiv 2510.24214.

Parameters: selector ``coverage`` before the language model: always the largest product of attention (``vision`` as it
is, weighing ``raw``) to the power ``alpha`` and of what the token adds to the sum over all tokens of their largest
cosine to a kept one. gamma = 0, positions renumbered.

Deviations: similarity is the cosine of projected tokens instead of the vision tower's; attention is the mean over heads
instead of the sum (which scales all alike).

Published: 192, 128 and 64, alpha 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, as_published, positions_knob
from eos_platform.operators.designs.schedule import whole
from eos_platform.operators.spec import Coverage, SiteSpec, Target


def _site(keep: int, alpha: float = 1.0, positions: str = "renumber", feature: str = "vision") -> SiteSpec:
    return SiteSpec(
        layer=0,
        keep=keep,
        selector="coverage",
        score={feature: 1.0},
        weighing="raw",
        coverage=Coverage(power=alpha),
        positions=positions,  # type: ignore[arg-type]
    )


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    return (_site(whole(tokens), knobs["alpha"], knobs["positions"], knobs["feature"]),)


SCOPE = Design(
    "scope",
    "prune",
    "Deng et al., arXiv 2510.24214",
    "keeps attended, covering tokens",
    _make,
    lambda target: (
        Knob("alpha", 1.0, 0.1, 3.0, log=True),
        Knob("feature", "vision", choices=("vision", "received")),
        positions_knob("renumber"),
    ),
    {nominal: as_published("scope", nominal, _site(nominal)) for nominal in (192, 128, 64)},
)
