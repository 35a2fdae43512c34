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
from functools import partial
from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.adapter import Adapter
from eos_platform.models.adapters.base import FULL
from eos_platform.models.adapters.target import Parts, parts_of
from eos_platform.models.attention.flash_bias import WIDEST
from eos_platform.models.attention.implementations import MASKED, REMEDY
from eos_platform.models.loading.unwrap import unwrapped
from eos_platform.models.relaxation.hooks import Relaxation
from eos_platform.models.relaxation.state import Trace
from eos_platform.models.runtime.layout import Layout
from eos_platform.models.runtime.registry import registered
from eos_platform.operators.relaxed.site import RelaxedSite

LARGE = 2048  # width of a token from which attention with a mask takes a noticeable share of a search's step


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
    model = model.model if isinstance(model, Adapter) else unwrapped(model)
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
    put = partial(Relaxation, parts, sites, layout, temperature, hard, candidates, tokens, carried)
    with registered(model, put) as relaxation:
        yield relaxation.trace


def check_relaxed(parts: Parts) -> None:
    """Refuse a kind of attention that tokens cannot fade out of.

    Raises:
        EosError: it is one.
    """
    kind = parts.language_model.config._attn_implementation
    if kind not in MASKED:
        raise EosError(
            f"attention '{kind}' is not supported by a search, which adds the presence of tokens to the logits of"
            f" attention; {REMEDY}"
        )


def carries(parts: Parts) -> bool:
    """Whether a relaxed operator's presence, added to keys, can go in spare dimensions of heads instead of a mask.

    Kernels that take a mask with a gradient are several times slower than those that only look back.
    """
    config, family, head = parts.language_model.config, parts.family, getattr(parts.reader(0).self_attn, "head_dim", 0)
    return (
        config._attn_implementation == "sdpa"
        and family is not None
        and not family.own_masks
        and all(one == FULL for one in parts.kinds)
        and not (getattr(config, "layer_types", None) is None and getattr(config, "sliding_window", None))
        and not getattr(config, "attn_logit_softcapping", None)
        and 0 < head <= WIDEST
    )


def carries_faster(parts: Parts) -> bool:
    """Whether it should: on a GPU, where heads are of a half-width type and the model is large."""
    model = parts.language_model
    fast = model.device.type == "cuda" and model.dtype in (torch.bfloat16, torch.float16)
    return fast and int(model.config.hidden_size) >= LARGE and carries(parts)
