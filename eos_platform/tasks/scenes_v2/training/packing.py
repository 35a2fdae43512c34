"""Many questions behind one picture: who sees whom, and an attention that makes use of it.

A sequence is the tokens before the question (p of them, the visual ones among them), then q blocks of l tokens. Each
block sees what stands before the questions and itself, as if it were the only one.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface

PACKED = "eos_packed"


def packed_mask(visual_p: Tensor, questions: int, block: int, two_way: bool) -> Tensor:
    """(s, s) bool, true where a row's token sees a column's."""
    p = len(visual_p)
    s = p + questions * block
    owner = torch.full((s,), -1)
    owner[p:] = torch.arange(questions).repeat_interleave(block)
    mask = torch.ones(s, s).tril().bool() & ((owner[None] == -1) | (owner[:, None] == owner[None]))
    if two_way:
        visual = torch.zeros(s, dtype=torch.bool)
        visual[:p] = visual_p
        mask |= visual[:, None] & visual[None]
    return mask


def windowed(mask_ss: Tensor, order_s: Tensor, window: int) -> Tensor:
    """The mask of a local layer: what lies ``window`` or more behind is not seen, not even within a picture."""
    return mask_ss & (order_s[:, None] - order_s[None] < window)


def register(p: int) -> str:
    """An attention for prefixes of ``p`` tokens that see only what is behind them; its name."""
    name = f"{PACKED}_{p}"

    def attention(
        module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, scaling: float, **_: Any
    ) -> tuple[Tensor, None]:
        groups = query.shape[1] // key.shape[1]
        if groups > 1:
            key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        before = F.scaled_dot_product_attention(
            query[:, :, :p], key[:, :, :p], value[:, :, :p], is_causal=True, scale=scaling
        )
        behind = F.scaled_dot_product_attention(
            query[:, :, p:], key, value, attn_mask=attention_mask[:, :, p:], scale=scaling
        )
        return torch.cat([before, behind], 2).transpose(1, 2).contiguous(), None

    AttentionInterface.register(name, attention)
    return name
