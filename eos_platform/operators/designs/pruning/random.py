"""Random: the control every selector has to beat.

Source: none; a control.

Parameters: selector ``random`` before the language model, gamma = 0, positions kept. The subset is the same for every
image (drawn once, from the seed), so that the operator has no randomness left when it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.operators.designs.base import Design, positions_knob
from eos_platform.operators.designs.schedule import whole
from eos_platform.operators.spec import SiteSpec, Target


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    return (SiteSpec(layer=0, keep=whole(tokens), selector="random", positions=knobs["positions"]),)


RANDOM = Design(
    "random",
    "prune",
    "control",
    "keeps a fixed random subset",
    _make,
    lambda target: (positions_knob("keep"),),
)
