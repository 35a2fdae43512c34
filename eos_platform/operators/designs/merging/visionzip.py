"""VisionZip: keep what the class token attends to, and a few tokens that sum up the rest.

Source: Yang, Chen, Tian, Wang, Li, Yu, Jia, "VisionZip: Longer is Better but Not Necessary in Vision Language Models",
arXiv 2412.04467.

Parameters: before the language model, the best by ``vision`` stay (``important``, the dominant ones); selector
``spaced`` picks the contextual ones among the rest, to which all others go by similarity of ``keys`` (gamma = 1,
tau = 0, to destinations), each adding the mean of what it receives to itself (mu = 1, nu = 0). Positions renumbered.

Deviations: the class token does not reach the language model (the counts are those that do, so one more patch does);
order stays that of the image instead of dominant ones first. Tokens are merged after the projector, the original's
before it: so they are where the knob ``place`` is ``projector`` (LLaVA only).

Published: 192, 128 and 64, of which 30, 20 and 10 contextual, the share taken for other counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, as_published, positions_knob
from eos_platform.operators.designs.schedule import before_projector, whole
from eos_platform.operators.spec import SiteSpec, Target, Transfer


def _site(
    dominant: int,
    contextual: int,
    positions: str = "renumber",
    similarity: str = "keys",
    feature: str = "vision",
) -> SiteSpec:
    return SiteSpec(
        layer=0,
        keep=dominant + contextual,
        selector="spaced",
        important=dominant,
        score={feature: 1.0},
        similarity=similarity,  # type: ignore[arg-type]
        transfer=Transfer(gamma=1.0, tau=0.0, nu=0.0, mu=1.0, to="destinations"),
        positions=positions,  # type: ignore[arg-type]
    )


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    keep = whole(tokens)
    contextual = max(1, round(knobs["contextual"] * keep))
    site = _site(keep - contextual, contextual, knobs["positions"], knobs["similarity"], knobs["feature"])
    return before_projector(target, site) if knobs["place"] == "projector" else (site,)


def _knobs(target: Target) -> tuple[Knob, ...]:
    return (
        Knob("contextual", 5 / 32, 0.02, 0.9, log=True),
        Knob("similarity", "keys", choices=("keys", "hidden")),
        Knob("feature", "vision", choices=("vision", "received")),
        Knob("place", "decoder", choices=("decoder", "projector")),
        positions_knob("renumber"),
    )


VISIONZIP = Design(
    "visionzip",
    "merge",
    "Yang et al., arXiv 2412.04467",
    "keeps attended tokens, merges the rest",
    _make,
    _knobs,
    {
        nominal: as_published("visionzip", nominal, _site(nominal - contextual, contextual))
        for nominal, contextual in ((192, 30), (128, 20), (64, 10))
    },
)
