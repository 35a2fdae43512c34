"""Attention masks of decoder layers: cut to the tokens present, and with a bias per key added.

A mask is what the model hands its layers: ``None`` (plain causal), bool (True: attend) or float (added to the logits),
of shape (b or 1, h or 1, q, k); on flash attention, ``None`` or which keys are there (b or 1, k).
Legend: b batch, h heads, q queries, k keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from eos_platform.models.decoding.cache import cache_of, name_for_cache

Mask = Tensor | Mapping[str, Tensor | None] | None


def take_keys(mask: Tensor, key_bk: Tensor) -> Tensor:
    """The columns ``key_bk`` of a mask (b|1, h|1, q, any): (b, h|1, q, k); or of (b|1, any): (b, k)."""
    if mask.dim() == 2:
        return mask.expand(key_bk.shape[0], -1).gather(1, key_bk)
    heads, queries = mask.shape[1], mask.shape[2]
    index = key_bk[:, None, None, :].expand(-1, heads, queries, -1)
    return mask.expand(key_bk.shape[0], -1, -1, -1).gather(3, index)


def take(mask: Tensor, present_bk: Tensor) -> Tensor:
    """The rows and columns ``present_bk`` of a square mask: (b, h|1, k, k); of one without rows: (b, k)."""
    if mask.dim() == 2:
        return take_keys(mask, present_bk)
    batch, heads, keys = present_bk.shape[0], mask.shape[1], mask.shape[3]
    rows = mask.expand(batch, -1, -1, -1).gather(2, present_bk[:, None, :, None].expand(-1, heads, -1, keys))
    return take_keys(rows, present_bk)


def add_bias(mask: Tensor | None, bias_bk: Tensor, queries: int, dtype: torch.dtype) -> Tensor:
    """A float mask (b, h|1, q, k) that adds ``bias_bk`` to the logits of each key.

    Args:
        mask: as handed to a layer; None is causal, the last query seeing every key.
        bias_bk: added per key.
        queries: q, needed when mask is None.
        dtype: of the hidden states, which attention asks of a float mask.
    """
    bias = bias_bk.to(dtype)[:, None, None, :]
    if mask is None:
        keys = bias_bk.shape[1]
        mask = torch.ones(queries, keys, dtype=torch.bool, device=bias.device).tril(keys - queries)[None, None]
    if mask.dtype == torch.bool:
        return torch.where(mask, bias, torch.finfo(dtype).min)
    return mask + bias


def cut(
    mask: Tensor | None, present_bk: Tensor, alive_bk: Tensor | None, dtype: torch.dtype, flash: bool
) -> Tensor | None:
    """A prefill's mask of the tokens present only, to none of which that is not alive (a filler) anyone attends."""
    mask = None if mask is None else take(mask, present_bk)
    if alive_bk is None:
        return mask
    if flash or (mask is not None and mask.dim() == 2):
        return alive_bk if mask is None else mask * alive_bk
    return close(mask, alive_bk, dtype)


def close(mask: Tensor | None, alive_bk: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask (b, h|1, k, k) of a prefill in which nobody attends to tokens that are not alive, but they to themselves.

    A row that attends to nothing would be no number, and spread.

    Args:
        mask: as handed to a layer; None is causal.
        alive_bk: bool.
        dtype: of the hidden states.
    """
    count = alive_bk.shape[1]
    self_kk = torch.eye(count, dtype=torch.bool, device=alive_bk.device)
    open_bkk = alive_bk[:, None, None] | self_kk
    if mask is None:
        return open_bkk & torch.ones_like(self_kk).tril()
    if mask.dtype == torch.bool:
        return (mask & open_bkk) | self_kk
    return mask.masked_fill(~open_bkk, torch.finfo(dtype).min)


def by_kind(language_model: Any, call: Mapping[str, Any]) -> Mask:
    """The masks that a language model would make for its kinds of attention, of all that it is called with.

    Args:
        language_model: which makes them itself, of what it is left.
        call: its arguments by name.
    """
    from transformers.masking_utils import create_masks_for_generate

    cache = {name_for_cache(create_masks_for_generate): cache_of(call)}
    masks: Mask = create_masks_for_generate(
        config=language_model.config,
        inputs_embeds=call["inputs_embeds"],
        attention_mask=call.get("attention_mask"),
        position_ids=None,
        **cache,
    )
    return masks


def as_float(mask_bqk: Tensor, dtype: torch.dtype) -> Tensor:
    """A bool mask (b, q, k) as eager attention adds it (b, 1, q, k)."""
    zero = torch.zeros((), dtype=dtype, device=mask_bqk.device)
    return torch.where(mask_bqk, zero, torch.finfo(dtype).min)[:, None]
