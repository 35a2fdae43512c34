"""Stride: the control that spreads what it keeps over the picture and looks at nothing.

Source: none; a control.

Parameters: selector ``grid`` before the language model (the middle token of each of as many windows), gamma = 0,
positions kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, positions_knob
from eos_platform.operators.designs.schedule import whole
from eos_platform.operators.spec import SiteSpec, Target


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    return (SiteSpec(layer=0, keep=whole(tokens), selector="grid", positions=knobs["positions"]),)


STRIDE = Design(
    "stride",
    "prune",
    "control",
    "keeps tokens at even distances",
    _make,
    lambda target: (positions_knob("keep"),),
)
