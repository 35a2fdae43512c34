"""Hand-designed operators from the literature, as settings of the one operator space: what searches compete with."""

from __future__ import annotations

from eos_platform.errors import unknown
from eos_platform.operators.designs.base import Design
from eos_platform.operators.designs.fastv import FASTV
from eos_platform.operators.designs.pool import POOL
from eos_platform.operators.designs.random import RANDOM
from eos_platform.operators.designs.tome import TOME

DESIGNS: dict[str, Design] = {design.name: design for design in (RANDOM, FASTV, TOME, POOL)}

__all__ = ["DESIGNS", "Design", "get_design"]


def get_design(name: str) -> Design:
    """The design of that name.

    Raises:
        EosError: no design is called so.
    """
    if name not in DESIGNS:
        raise unknown("design", name, DESIGNS)
    return DESIGNS[name]
