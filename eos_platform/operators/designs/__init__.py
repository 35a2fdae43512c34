"""Hand-designed operators from the literature, as settings of the one operator space: what searches compete with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar, get_args

from eos_platform.common.boundary import reading
from eos_platform.operators.designs.attention.adaptinfer import ADAPTINFER
from eos_platform.operators.designs.attention.flowcut import FLOWCUT
from eos_platform.operators.designs.base import LLAVA, Design, Knob
from eos_platform.operators.designs.diversity.cen_prune import CEN_CDPRUNER, CEN_DIVPRUNE
from eos_platform.operators.designs.diversity.d2pruner import D2PRUNER
from eos_platform.operators.designs.diversity.mmtok import MMTOK
from eos_platform.operators.designs.diversity.prunesid import PRUNESID
from eos_platform.operators.designs.diversity.scope import SCOPE
from eos_platform.operators.designs.diversity.todre import TODRE
from eos_platform.operators.designs.diversity.tops import TOPS
from eos_platform.operators.designs.diversity.zoo_prune import ZOO_PRUNE
from eos_platform.operators.designs.films.dycoke import DYCOKE
from eos_platform.operators.designs.films.evs import EVS
from eos_platform.operators.designs.films.fastvid import FASTVID
from eos_platform.operators.designs.films.framefusion import FRAMEFUSION
from eos_platform.operators.designs.films.holitom import HOLITOM
from eos_platform.operators.designs.films.prunevid import PRUNEVID
from eos_platform.operators.designs.films.vidcom2 import VIDCOM2
from eos_platform.operators.designs.films.whole_frames import WHOLE_FRAMES
from eos_platform.operators.designs.merging.diffrate import DIFFRATE
from eos_platform.operators.designs.merging.prumerge import PRUMERGE, PRUMERGE_PLUS
from eos_platform.operators.designs.merging.sparsevlm import SPARSEVLM, SPARSEVLM_V2
from eos_platform.operators.designs.merging.tome import TOME
from eos_platform.operators.designs.merging.tome_tower import TOME_TOWER
from eos_platform.operators.designs.merging.visionzip import VISIONZIP
from eos_platform.operators.designs.pooling.adaptive_pool import ADAPTIVE_POOL
from eos_platform.operators.designs.pooling.downsample import DOWNSAMPLE
from eos_platform.operators.designs.pooling.pool import POOL
from eos_platform.operators.designs.pooling.reweight import REWEIGHT
from eos_platform.operators.designs.pruning.cdpruner import CDPRUNER
from eos_platform.operators.designs.pruning.dart import DART
from eos_platform.operators.designs.pruning.divprune import DIVPRUNE
from eos_platform.operators.designs.pruning.fastervlm import FASTERVLM
from eos_platform.operators.designs.pruning.fastv import FASTV
from eos_platform.operators.designs.pruning.holov import HOLOV
from eos_platform.operators.designs.pruning.nuwa import NUWA
from eos_platform.operators.designs.pruning.pyramiddrop import PYRAMIDDROP
from eos_platform.operators.designs.pruning.random import RANDOM
from eos_platform.operators.designs.pruning.stride import STRIDE
from eos_platform.operators.designs.pruning.v2drop import V2DROP
from eos_platform.operators.designs.pruning.vispruner import VISPRUNER
from eos_platform.operators.designs.pruning.vtw import VTW
from eos_platform.operators.designs.pruning.zero import ZERO
from eos_platform.operators.site import Regime
from eos_platform.plugins import Registry, of_type

T = TypeVar("T")
_CONTROLS = (RANDOM, STRIDE, POOL, ADAPTIVE_POOL, DOWNSAMPLE, ZERO, REWEIGHT)
_METHODS = (
    *(TOME, TOME_TOWER, FASTV, PRUMERGE, PRUMERGE_PLUS, SPARSEVLM, SPARSEVLM_V2, PYRAMIDDROP, VTW, DIFFRATE),
    *(VISIONZIP, VISPRUNER, DIVPRUNE, DART, CDPRUNER),
    *(FASTERVLM, CEN_DIVPRUNE, CEN_CDPRUNER, SCOPE, MMTOK, TOPS, HOLOV, V2DROP, ZOO_PRUNE, NUWA),
    *(PRUNESID, D2PRUNER, ADAPTINFER, FLOWCUT, TODRE),
)
_FILMS = (WHOLE_FRAMES, EVS, VIDCOM2, DYCOKE, FRAMEFUSION, FASTVID, PRUNEVID, HOLITOM)


def _brought(thing: Any) -> Design:
    """A design of another package; whatever its code raises is one line about it, and it is left out where all are
    tried.

    Raises:
        TypeError: it is none, or of no known regime.
    """
    design = of_type(Design)(thing)
    if design.regime not in get_args(Regime):
        raise TypeError(f"a design's regime is one of {', '.join(get_args(Regime))}, not {design.regime!r}")

    def guarded(function: Callable[..., T]) -> Callable[..., T]:
        @wraps(function)
        def call(*given: Any) -> T:
            with reading(f"design '{design.name}'"):
                return function(*given)

        return call

    return replace(design, make=guarded(design.make), knobs=guarded(design.knobs))


DESIGNS: Registry[Design] = Registry("design", "designs", _brought, named=True)
for _design in (*_CONTROLS, *_METHODS, *_FILMS):
    DESIGNS.register(_design.name, _design)

__all__ = ["DESIGNS", "LLAVA", "Design", "Knob", "get_design", "suited"]


def get_design(name: str) -> Design:
    """The design of that name.

    Raises:
        EosError: no design is called so, or the package that brings it is broken.
    """
    return DESIGNS.get_named(name)


def suited(frames: int = 1) -> tuple[str, ...]:
    """Names of the designs for pictures, and for films of so many frames those that look across these too."""
    return tuple(name for name, design in DESIGNS.items() if frames > 1 or not design.films)
