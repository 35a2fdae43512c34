"""Hand-designed operators from the literature, as settings of the one operator space: what searches compete with."""

from __future__ import annotations

from eos_platform.operators.designs.adaptive_pool import ADAPTIVE_POOL
from eos_platform.operators.designs.base import LLAVA, Design, Knob
from eos_platform.operators.designs.cdpruner import CDPRUNER
from eos_platform.operators.designs.dart import DART
from eos_platform.operators.designs.diffrate import DIFFRATE
from eos_platform.operators.designs.divprune import DIVPRUNE
from eos_platform.operators.designs.downsample import DOWNSAMPLE
from eos_platform.operators.designs.fastv import FASTV
from eos_platform.operators.designs.pool import POOL
from eos_platform.operators.designs.prumerge import PRUMERGE, PRUMERGE_PLUS
from eos_platform.operators.designs.pyramiddrop import PYRAMIDDROP
from eos_platform.operators.designs.random import RANDOM
from eos_platform.operators.designs.reweight import REWEIGHT
from eos_platform.operators.designs.sparsevlm import SPARSEVLM, SPARSEVLM_V2
from eos_platform.operators.designs.stride import STRIDE
from eos_platform.operators.designs.tome import TOME
from eos_platform.operators.designs.tome_tower import TOME_TOWER
from eos_platform.operators.designs.visionzip import VISIONZIP
from eos_platform.operators.designs.vispruner import VISPRUNER
from eos_platform.operators.designs.vtw import VTW
from eos_platform.operators.designs.zero import ZERO
from eos_platform.plugins import Registry, of_type

_CONTROLS = (RANDOM, STRIDE, POOL, ADAPTIVE_POOL, DOWNSAMPLE, ZERO, REWEIGHT)
_METHODS = (
    *(TOME, TOME_TOWER, FASTV, PRUMERGE, PRUMERGE_PLUS, SPARSEVLM, SPARSEVLM_V2, PYRAMIDDROP, VTW, DIFFRATE),
    *(VISIONZIP, VISPRUNER, DIVPRUNE, DART, CDPRUNER),
)
DESIGNS: Registry[Design] = Registry("design", "designs", of_type(Design))
for _design in (*_CONTROLS, *_METHODS):
    DESIGNS.register(_design.name, _design)

__all__ = ["DESIGNS", "LLAVA", "Design", "Knob", "get_design"]


def get_design(name: str) -> Design:
    """The design of that name.

    Raises:
        EosError: no design is called so, or the package that brings it is broken.
    """
    return DESIGNS.get_named(name)
