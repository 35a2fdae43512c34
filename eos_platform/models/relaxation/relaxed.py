"""A relaxed operator at work on a model: tokens fade out of attention, and gradients reach every site.

The presence of a visual token multiplies its attention weight inside the softmax, as log presence added to the logits
of its key; so a token that is not there gets no attention, and still learns what it would have been worth. Where a
site is given a number of candidates, those that could not have stayed anyway leave for good: what follows costs little
more than the deployed operator.

The hooks that do it are in ``hooks.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.adapter import Adapter
from eos_platform.models.adapters.target import parts_of
from eos_platform.models.attention.implementations import carries_faster, check_relaxed
from eos_platform.models.relaxation.hooks import Relaxation
from eos_platform.models.relaxation.state import Trace
from eos_platform.models.runtime.attach import check_free, registered
from eos_platform.models.runtime.layout import Layout
from eos_platform.operators.relaxed.site import RelaxedSite


@contextmanager
def relaxed(
    model: Any,
    sites: Sequence[RelaxedSite],
    layout: Layout,
    *,
    temperature: float | Tensor,
    hard: bool,
    candidates: int | None = None,
    tokens: int | None = None,
    carried: bool | None = None,
) -> Iterator[Trace]:
    """Calls of the language model run with relaxed sites, while the block runs.

    Args:
        model: one with no operator attached, or its adapter.
        sites: in layer order.
        layout: of the sequences it is called with.
        temperature: of the selections.
        hard: deployed selections forward, soft gradients backward.
        candidates: how many visual tokens the first site hands on; default: all. The others leave there for good.
        tokens: what the sites' counts, and ``candidates``, are shares of; default: a picture as usual. Every unit of
            the layout keeps the same share.
        carried: whether presence goes in spare dimensions of heads and not in masks; default: where that is faster.

    Raises:
        EosError: an operator is attached, a site is beyond the last layer or out of order, the layout does not
            fit, attention takes no bias, or positions cannot be renumbered.
    """
    parts = model.parts if isinstance(model, Adapter) else parts_of(model)
    model = model.model if isinstance(model, Adapter) else model
    check_free(model)
    last, usual = len(parts.layers) - 1, parts.grid[0] * parts.grid[1]
    for number, site in enumerate(sites):
        if not 0 <= site.layer <= last:
            raise EosError(f"sites.{number}: layer {site.layer} is beyond the model's last decoder layer ({last})")
        if number and site.layer < sites[number - 1].layer:
            raise EosError(f"sites.{number}: layer {site.layer} comes after layer {sites[number - 1].layer}")
        if site.positions == "renumber" and parts.family is not None and parts.family.axes > 1:
            raise EosError(f"sites.{number}: positions of several axes ({parts.family.name}) are kept")
    held = sum(rows * columns * many for (rows, columns), many in layout.units) if layout.units else usual
    if layout.visual_bn.shape[1] != held:
        whose = "its units" if layout.units else "the model"
        raise EosError(f"layout has {layout.visual_bn.shape[1]} visual tokens; {whose} has {held}")
    if layout.seen is not None:
        raise EosError("relaxed sites need every visual token; these pictures were reduced inside the vision tower")
    check_relaxed(parts)
    tokens = usual if tokens is None else tokens
    if candidates is not None and candidates >= tokens:
        candidates = None
    carried = carries_faster(parts) if carried is None else carried
    relaxation = Relaxation(parts, sites, layout, temperature, hard, candidates, tokens, carried)
    with registered(model, relaxation):
        yield relaxation.trace
