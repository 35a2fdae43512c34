"""Nuwa: the best of every little window first, then, half way down, what the last text token attends to.

Source: "Nuwa: Mending the Spatial Integrity Torn by VLM Token Pruning", arXiv 2602.02951.

Parameters: two sites. Before the language model, selector ``score`` on ``vision`` with a quota that guarantees nothing
but lets no 2x2 window keep more than ``cap`` tokens (1, 2 or 3, as the count needs); before layer 16 of 32, selector
``score`` on ``last_text``. gamma = 0, positions kept. Counts lie on straight lines from none through the published ones
to all; means that those layers cannot reach are met by acting earlier.

Deviations: the merging of neighbours into the weaker anchors is left out, so that this is the pruning half of the
method; attention before layer 16 is that of layer 16 instead of 15.

Published: 64, 128 and 192, with exactly these means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from eos_platform.operators.designs.base import LLAVA, Design, as_published, positions_knob
from eos_platform.operators.designs.schedule import between, depth, stages
from eos_platform.operators.spec import OperatorSpec, Quota, SiteSpec, Target

_PUBLISHED = {192: (336, 48), 128: (224, 32), 64: (112, 16)}


def _first(target: Target, keep: int, positions: str, layer: int = 0) -> SiteSpec:
    windows = max(1, target.grid[0] // 2 * (target.grid[1] // 2))
    quota = Quota(groups=windows, share="none", cap=math.ceil(keep / windows))
    return SiteSpec(layer=layer, keep=keep, score={"vision": 1.0}, quota=quota, positions=positions)  # type: ignore[arg-type]


def _second(layer: int, keep: int, positions: str) -> SiteSpec:
    return SiteSpec(layer=layer, keep=keep, score={"last_text": 1.0}, positions=positions)  # type: ignore[arg-type]


def _make(target: Target, tokens: float, knobs: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    lists = [_PUBLISHED[nominal] for nominal in sorted(_PUBLISHED)]
    sites, before = list[SiteSpec](), target.tokens
    for layer, keep in stages(target, tokens, (0, depth(16, target)), between(lists, LLAVA.tokens)):
        if keep < before:
            made = _first(target, keep, knobs["positions"]) if layer == 0 else _second(layer, keep, knobs["positions"])
            sites.append(made)
            before = keep
    return tuple(sites)


def _published(nominal: int) -> Callable[[], OperatorSpec]:
    first, second = _PUBLISHED[nominal]
    return as_published("nuwa", nominal, _first(LLAVA, first, "keep"), _second(16, second, "keep"))


NUWA = Design(
    "nuwa",
    "prune",
    "ICLR 2026, arXiv 2602.02951",
    "best of each window, then by text",
    _make,
    lambda target: (positions_knob("keep"),),
    {nominal: _published(nominal) for nominal in _PUBLISHED},
)
