"""What layers are handed in a prefill once tokens have left: masks, positions and rotary embeddings of those present.

Later steps have theirs from ``decoding/later_steps.py``.
Legend: b batch, s prompt, k tokens present, d width.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from eos_platform.models.adapters.base import Parts
from eos_platform.models.attention.implementations import is_flash
from eos_platform.models.attention.masks import Mask, add_bias, by_kind, cut
from eos_platform.models.attention.recurrent import fillers_first, padding
from eos_platform.models.attention.rope import Rope
from eos_platform.models.decoding.cache import cache_of
from eos_platform.models.decoding.later_steps import flash_bias
from eos_platform.models.decoding.prompt import Call, Pass, Stage
from eos_platform.models.loading.devices import moved
from eos_platform.models.runtime.token_state import TokenState
from eos_platform.operators.tokens import gather_tokens


def own_masks(parts: Parts) -> bool:
    """Whether attention of this family is not simply causal."""
    return parts.family is not None and parts.family.own_masks


def mask_of_places(parts: Parts, call: Call) -> Any:
    """The mask that the language model is called with; of all places where it would make one of those left."""
    mask = call.get("attention_mask")
    if own_masks(parts) and (mask is None or (isinstance(mask, Tensor) and mask.dim() == 2)):
        return by_kind(parts.language_model, call)
    return mask


def mask_of_present(parts: Parts, mask: Any, present: TokenState, x_bkd: Tensor, call: Call) -> Mask:
    """The mask to call the language model with, where tokens left before its first layer."""
    alive_bk = present.alive_bk
    if isinstance(mask, dict):
        return {name: _columns(parts, one, present.slot_bk, alive_bk, x_bkd) for name, one in mask.items()}
    if mask is not None:
        return _columns(parts, mask, present.slot_bk, alive_bk, x_bkd)
    if alive_bk is not None:
        return alive_bk.long()
    use_cache = call.get("use_cache")
    caches = parts.language_model.config.use_cache if use_cache is None else use_cache
    if not caches and cache_of(call) is None:
        # without mask and cache, gaps in the positions would be taken for packed sequences
        return torch.ones(x_bkd.shape[:2], dtype=torch.long, device=x_bkd.device)
    return None


def add_level(now: Pass, call: Call, index: int) -> None:
    """Add what the vision tower has for a layer, as one of the first may get it, to the tokens present."""
    if not 0 < index <= len(now.deep):
        return
    level_bkd = moved(now.deep[index - 1], call["hidden_states"].device)
    if now.stage is not None:
        level_bkd = gather_tokens(level_bkd, now.stage.on(level_bkd.device).present.slot_bk)
    call["hidden_states"] = call["hidden_states"] + level_bkd


def keep_earlier(now: Pass, x_bkd: Tensor) -> None:
    """Note what enters a layer, for a site before the next one."""
    if now.stage is not None:
        now.stage = replace(now.stage, present=replace(now.stage.present, earlier_bkd=x_bkd))
    elif now.start is not None:
        now.start = replace(now.start, earlier_bkd=x_bkd)


def masked_and_turned(parts: Parts, stage: Stage, call: Call, index: int) -> tuple[Tensor | None, Rope]:
    """Mask and rotary embeddings of the tokens present, for layers of this one's kind."""
    kind, present, x_bkd = parts.kind(index), stage.present, call["hidden_states"]
    if kind not in stage.handed:
        arguments = call.get("attention_mask"), Rope(*call["position_embeddings"])
        mask, rope = moved(arguments, x_bkd.device)
        recurrent = index in parts.recurrent
        if stage.column_bk is not None:
            mask = (
                padding(mask, stage.column_bk, present.alive_bk)
                if recurrent
                else _columns(parts, mask, stage.column_bk, present.alive_bk, x_bkd)
            )
            if stage.renumbered:
                rope = parts.rope(x_bkd, present.position_bk, kind)
            else:
                rope = Rope(*(part.expand(len(x_bkd), -1, -1) for part in rope)).at(stage.column_bk)
        plain = recurrent or is_flash(parts)
        stage.handed[kind] = mask if plain else _biased(mask, present, x_bkd), rope
    return stage.handed[kind]


def hand_over(parts: Parts, now: Pass, call: Call, index: int) -> None:
    """Hand a layer the tokens present instead of the whole prompt's."""
    if now.stage is None:
        return
    stage = now.stage.on(call["hidden_states"].device)
    mask, rope = masked_and_turned(parts, stage, call, index)
    if index in parts.recurrent:
        now.order_bk, call["hidden_states"], mask = fillers_first(stage.present, call["hidden_states"], mask)
        call.update(attention_mask=mask, position_embeddings=tuple(rope))
        return
    call.update(attention_mask=mask, position_embeddings=tuple(rope), **flash_bias(parts, stage.present))
    position = stage.present.position_bk
    if call.get("position_ids") is not None or position.dim() == 2:
        call["position_ids"] = position if position.dim() == 2 else position[0]


def whole_length(now: Pass, output_bkd: Tensor) -> Tensor | None:
    """What leaves the final norm, in as many rows as came in (b, s, d): zeros where a token was removed.

    None: it has them.
    """
    if not now.prefill or now.stage is None:
        return None
    present = now.stage.on(output_bkd.device).present
    if present.alive_bk is not None:
        output_bkd = output_bkd.masked_fill(~present.alive_bk[:, :, None], 0)
    batch, _, width = output_bkd.shape
    whole_bsd = output_bkd.new_zeros(batch, now.prompt.length, width)
    return whole_bsd.scatter(1, present.slot_bk[:, :, None].expand(-1, -1, width), output_bkd)


def _columns(
    parts: Parts, mask: Tensor | None, column_bk: Tensor, alive_bk: Tensor | None, x_bkd: Tensor
) -> Tensor | None:
    return cut(mask, column_bk, alive_bk, x_bkd.dtype, is_flash(parts))


def _biased(mask: Tensor | None, present: TokenState, x_bkd: Tensor) -> Tensor | None:
    """With the bias of the tokens present."""
    if present.bias_bk is None:
        return mask
    return add_bias(mask, present.bias_bk, x_bkd.shape[1], x_bkd.dtype)
