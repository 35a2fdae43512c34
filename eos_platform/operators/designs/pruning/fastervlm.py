"""FasterVLM: keep the tokens the class token attends to most.

Source: Zhang, Cheng, Cao, Guo, Zhang, "[CLS] Attention is All You Need for Training-Free Visual Token Pruning: Make VLM
Inference Faster", arXiv 2412.01818v1 (later versions became VisPruner).

Parameters: selector ``score`` on ``vision`` alone before the language model, gamma = 0, positions renumbered: VisionZip
without its contextual tokens, and the control of every method that ranks by the class token.

Deviations: none. Where a vision tower has no class token, the knob ``feature`` may be ``received``.

Published: the counts themselves; those named are what other authors compare at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, as_published, positions_knob
from eos_platform.operators.designs.schedule import whole
from eos_platform.operators.spec import SiteSpec, Target


def _site(keep: int, positions: str = "renumber", feature: str = "vision") -> SiteSpec:
    return SiteSpec(layer=0, keep=keep, score={feature: 1.0}, positions=positions)  # type: ignore[arg-type]


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    return (_site(whole(tokens), knobs["positions"], knobs["feature"]),)


FASTERVLM = Design(
    "fastervlm",
    "prune",
    "Zhang et al., arXiv 2412.01818",
    "keeps what the class token attends to",
    _make,
    lambda target: (Knob("feature", "vision", choices=("vision", "received")), positions_knob("renumber")),
    {nominal: as_published("fastervlm", nominal, _site(nominal), note="other authors") for nominal in (192, 128, 64)},
)
