"""Deepstack: features of the vision tower that a language model adds behind its first layers, as whole sequences.

A model adds them where its visual tokens stand, which are no longer there once tokens have left; as sequences they are
gathered like the tokens themselves. Legend: b batch, s sequence, d width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.base import Parts
from eos_platform.models.loading.devices import moved

FEATURES, PLACES = "deepstack_visual_embeds", "visual_pos_masks"  # as language models are handed them


def levels_of(parts: Parts, first: int) -> int:
    """How many layers have such features added behind them; 0 where that is over before layer ``first``.

    Raises:
        EosError: more than could have.
    """
    levels = parts.deepstack
    if first > levels:
        return 0
    if levels >= len(parts.layers):
        raise EosError(f"{len(parts.layers)} decoder layers, and deepstack features for {levels} of them")
    return levels


def dense(call: dict[str, Any]) -> list[Tensor]:
    """The features of each level (b, s, d), zeros where no visual token stands; taken out of the call.

    Args:
        call: arguments of the language model, by name.
    """
    if call.get(FEATURES) is None:
        return []
    x_bsd = call["inputs_embeds"]
    place_bs1 = moved(call[PLACES], x_bsd.device)[..., None]
    empty_bsd = torch.zeros_like(x_bsd)
    levels = [empty_bsd.masked_scatter(place_bs1, level.to(x_bsd)) for level in call[FEATURES]]
    call.update({FEATURES: None, PLACES: None})
    return levels


def given(levels: list[Tensor]) -> dict[str, Any]:
    """Whole sequences of features as a language model takes them: every place has some."""
    if not levels:
        return {}
    place_bs = torch.ones(levels[0].shape[:2], dtype=torch.bool, device=levels[0].device)
    return {FEATURES: [level.flatten(0, 1) for level in levels], PLACES: place_bs}
