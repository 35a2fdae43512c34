"""Reweighting: all tokens stay, the important ones longer than the others.

Source: the reweighting corner of the space in "Differentiable Efficient Operator Search", arXiv 2606.05232.

Parameters: keep = all, rho > 0 on one feature, before the language model. One amount of compute: it saves none.

Deviations: the source fixes neither feature nor strength; both are knobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.common.errors import EosError
from eos_platform.operators.designs.base import Design, Knob
from eos_platform.operators.spec import SiteSpec, Target


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    if tokens < target.tokens:
        raise EosError(f"keeps all {target.tokens} tokens, so it cannot be built for {tokens:g}")
    score = {knobs["feature"]: 1.0}
    return (SiteSpec(layer=knobs["layer"], keep=target.tokens, score=score, rho=knobs["rho"]),)


def _knobs(target: Target) -> tuple[Knob, ...]:
    features = ("vision", "last_text", "mean_text", "uniqueness")
    return (
        Knob("feature", "vision", choices=features),
        Knob("rho", 0.1, 0.01, 1.0, log=True),
        Knob("layer", 0, 0, target.layers - 1),
    )


REWEIGHT = Design(
    "reweight",
    "reweight",
    "arXiv 2606.05232",
    "keeps every token, scaled by importance",
    _make,
    _knobs,
    fixed=True,
)
