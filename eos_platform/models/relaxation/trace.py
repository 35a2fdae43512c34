"""Which visual tokens an operator keeps in given prompts: for pictures of what it does.

Legend: b batch, s sequence, r visual tokens present, d width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.adapters.prefill import Prefill
from eos_platform.models.loading.unwrap import unwrapped
from eos_platform.models.runtime.attach import start
from eos_platform.models.runtime.layout import Layout
from eos_platform.models.runtime.registry import registered
from eos_platform.models.runtime.token_state import TokenState
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec, SiteSpec


@dataclass(frozen=True)
class Kept:
    """The visual tokens present after a site.

    Attributes:
        place: ``tower`` (all of its sites, and a shrunk picture, together) or ``decoder``.
        layer: the site stands before; the last one's in the tower.
        origin_br: long, ascending: raster index of each in the unreduced picture; of prompts of several units, which
            of their layout's visual tokens each is.
        size_br: how many original tokens each stands for.
    """

    place: str
    layer: int
    origin_br: Tensor
    size_br: Tensor


def kept_places(model: Any, operator: OperatorSpec, x_bsd: Tensor, layout: Layout) -> list[Kept]:
    """What each site keeps, in operator order, of sequences that are masked by padding alone (see ``kept_of``)."""
    return kept_of(model, operator, Prefill(x_bsd, layout, layout.valid_bs.long()))


@torch.no_grad()
def kept_of(model: Any, operator: OperatorSpec, prefill: Prefill) -> list[Kept]:
    """What each site keeps, in operator order.

    Args:
        model: with no operator attached.
        operator: what reduces the visual tokens.
        prefill: what the language model is given; the operator's part in the vision tower has been done.

    Raises:
        EosError: one is attached, or the operator was made for another model.
    """
    traces: list[Kept] = []
    model = unwrapped(model)
    layout, device = prefill.layout, prefill.x_bsd.device
    b, n = layout.visual_bn.shape
    place_bn = torch.arange(n, device=device).expand(b, n)
    if layout.seen is not None:
        layer = max((site.layer for site in operator.tower_sites), default=0)
        traces.append(Kept("tower", layer, layout.seen.index_br, layout.seen.size_br))
    plan = OperatorPlan.of(operator)
    for planned in plan.decoder:
        if not planned.active:  # it keeps every token
            traces.append(Kept("decoder", planned.site.layer, place_bn, torch.ones(b, n, device=device)))

    def watch(site: SiteSpec, present: TokenState) -> None:
        traces.append(Kept("decoder", site.layer, *present.origins_and_sizes()))

    with registered(model, lambda: start(model, operator, layout, watch)):
        adapter_of(model).forward(prefill)
    return traces
