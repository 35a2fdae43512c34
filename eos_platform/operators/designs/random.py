"""Random: the control every selector has to beat.

Parameters: selector ``random`` before the language model, gamma = 0, positions kept. The subset is the same for every
image (drawn once, from the seed), so that the operator has no randomness left when it runs.
"""

from __future__ import annotations

from eos_platform.operators.designs.base import Design
from eos_platform.operators.spec import SiteSpec, Target


def _sites(target: Target, keep: int, layer: int) -> tuple[SiteSpec, ...]:
    return (SiteSpec(layer=layer, keep=keep, selector="random"),)


RANDOM = Design("random", "prune", "control", "keeps a fixed random subset, discards the rest", _sites)
