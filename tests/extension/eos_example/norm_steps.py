"""A design: halve the visual tokens in steps, by their norm, and merge what leaves into the nearest that stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, Knob
from eos_platform.operators.designs.schedule import depth, stages
from eos_platform.operators.spec import SiteSpec, Target, Transfer


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    layers = sorted({depth(layer, target) for layer in (2, 12)})
    steps = stages(target, tokens, layers, lambda amount: [amount ** (number + 1) for number in range(len(layers))])
    merge = Transfer(gamma=knobs["gamma"], tau=0.0)
    return tuple(SiteSpec(layer=layer, keep=keep, score={"norm": 1.0}, transfer=merge) for layer, keep in steps)


NORM_STEPS = Design(
    "norm-steps",
    "merge",
    "eos-example",
    "merges the tokens of least norm, in two steps",
    _make,
    lambda target: (Knob("gamma", 1.0, 0.0, 1.0),),
)
