"""Zero: no visual token at all, what can be answered without looking.

Source: none; a control.

Parameters: selector ``drop_all`` before the language model, positions of the text kept. One amount of compute: the
tokens asked for play no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design
from eos_platform.operators.spec import SiteSpec, Target


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    return (SiteSpec(layer=0, keep=0, selector="drop_all"),)


ZERO = Design("zero", "prune", "control", "discards every visual token", _make, fixed=True)
