"""DART: keep a few pivots, and what is least like them.

Source: Wen, Gao, Wang, Zhang, Zhang, Li, He, Zhang, "Stop Looking for Important Tokens in Multimodal Language Models:
Duplication Matters More", arXiv 2502.11494.

Parameters: selector ``pivots`` on ``key_norm`` before layer 2 of 32 (the same depth in other models, never before layer
1): four visual pivots and four of the text, each of which keeps the tokens with the lowest cosine to it; gamma = 0,
positions kept.

Deviations: the original takes the keys of layer K - 1, and compares its output after the model's last norm; here keys
are those of layer K and tokens are compared as they enter it. Visual pivots take their turn by descending norm (there:
in an arbitrary order). Counts need not be 4 + 8 t: what is left over goes to the first pivots. Means that no count can
reach at that depth are met by acting earlier, no further than needed.

Published: 4 + 8 floor(count / 8) tokens stay, so what is called 128 keeps 132, a mean of 159.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob, as_published, positions_knob
from eos_platform.operators.designs.schedule import depth, one_stage
from eos_platform.operators.spec import SiteSpec, Target


def _site(layer: int, keep: int, positions: str = "keep") -> SiteSpec:
    score = {"key_norm": 1.0}
    return SiteSpec(layer=layer, keep=keep, selector="pivots", score=score, positions=positions)  # type: ignore[arg-type]


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    layer, keep = one_stage(target, tokens, knobs["layer"])
    return (_site(layer, keep, knobs["positions"]),)


def _knobs(target: Target) -> tuple[Knob, ...]:
    own = depth(2, target)
    return (Knob("layer", own, 0, max(own, target.layers // 2)), positions_knob("keep"))


DART = Design(
    "dart",
    "prune",
    "Wen et al., arXiv 2502.11494",
    "keeps pivots and what is least like them",
    _make,
    _knobs,
    {nominal: as_published("dart", nominal, _site(2, 4 + nominal // 8 * 8)) for nominal in (192, 128, 64)},
)
