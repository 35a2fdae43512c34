"""How much attention each patch of a picture receives in one block of a vision tower: the mean over heads and queries.

Unlike the class token's attention, every tower has it. The whole map of the block is looked at, some queries at a time.

Legend: m pictures or runs of patches that see each other, k patches (and what else the tower has), q some of them as
queries, h heads, e head width, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eos_platform.models.attention.rope import Rope, rotate

CHUNK = 256  # queries at a time


def received(query_mkhe: Tensor, key_mkhe: Tensor, scale: float, mask: Tensor | None = None) -> Tensor:
    """What each key receives (m, k), float32: over keys it sums to 1.

    Args:
        query_mkhe, key_mkhe: of all.
        scale: of their products.
        mask: what the block adds to the logits, or where it looks (bool), of four axes.
    """
    heads, queries = query_mkhe.shape[2], query_mkhe.shape[1]
    total_mk = torch.zeros(key_mkhe.shape[:2], device=key_mkhe.device)
    for start in range(0, queries, CHUNK):
        some_mqhe = query_mkhe[:, start : start + CHUNK]
        logits_mhqk = torch.einsum("mqhe,mkhe->mhqk", some_mqhe, key_mkhe).float() * scale
        if mask is not None:
            part = mask[:, :, start : start + CHUNK] if mask.shape[2] > 1 else mask
            low = torch.finfo(torch.float32).min
            logits_mhqk = logits_mhqk.masked_fill(~part, low) if part.dtype == torch.bool else logits_mhqk + part
        total_mk = total_mk + logits_mhqk.softmax(-1).sum((1, 2))
    return total_mk / (heads * queries)


def projected(attention: Any, x_mkd: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys (m, k, h, e) of towers like SigLIP's and InternVL's: after norms, where the block has some."""
    query_mkd, key_mkd = attention.q_proj(x_mkd), attention.k_proj(x_mkd)
    if getattr(attention, "q_norm", None) is not None:
        query_mkd, key_mkd = attention.q_norm(query_mkd), attention.k_norm(key_mkd)
    width = attention.head_dim
    return query_mkd.unflatten(-1, (-1, width)), key_mkd.unflatten(-1, (-1, width))


def received_in_runs(
    attention: Any, x_kd: Tensor, rope: tuple[Tensor, Tensor], lengths: Sequence[int], heads: int
) -> Tensor:
    """What each patch receives (k,), of towers like Qwen's: patches of all pictures in one row, in runs that see each
    other, turned by their places.

    Args:
        attention: with queries, keys and values projected at once.
        x_kd: what it is given.
        rope: cosines and sines of every patch (k, e).
        lengths: of the runs.
        heads: of the attention.
    """
    query_khe, key_khe, _ = attention.qkv(x_kd).unflatten(-1, (3, heads, -1)).unbind(1)
    wide = Rope(*(part[None].float() for part in rope))
    turned = [rotate(x_khe[None].float(), wide)[0] for x_khe in (query_khe, key_khe)]
    scale = query_khe.shape[-1] ** -0.5
    parts = zip(*(x.to(query_khe.dtype).split(list(lengths)) for x in turned), strict=True)
    return torch.cat([received(query[None], key[None], scale)[0] for query, key in parts])
