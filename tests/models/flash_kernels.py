"""A plain stand-in for flash attention's kernels, called by transformers' own code around them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import masking_utils, modeling_flash_attention_utils
from transformers.integrations.flash_attention import flash_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from eos_platform.models.conformance.subjects import fresh, samples

KERNEL = "kernels-community/flash-attn2"
KINDS = ("flash_attention_2", "flash_attention_3", KERNEL)


def attend(q_bqhe: Tensor, k_bkge: Tensor, v_bkge: Tensor, causal: bool, softmax_scale: float) -> Tensor:
    """What the kernel computes: the last query sees every key where it is causal, and keys are as they are."""
    widths = {each.shape[-1] for each in (q_bqhe, k_bkge, v_bkge)}
    assert len(widths) == 1
    assert widths.pop() in range(8, 257, 8)
    queries, keys = q_bqhe.shape[1], k_bkge.shape[1]
    share = q_bqhe.shape[2] // k_bkge.shape[2]
    k_bkhe, v_bkhe = (each.repeat_interleave(share, 2) for each in (k_bkge, v_bkge))
    logits_bhqk = torch.einsum("bqhe,bkhe->bhqk", q_bqhe, k_bkhe) * softmax_scale
    if causal:
        later_qk = torch.ones(queries, keys, dtype=torch.bool).triu(keys - queries + 1)
        logits_bhqk = logits_bhqk.masked_fill(later_qk, -torch.inf)
    return torch.einsum("bhqk,bkhe->bqhe", logits_bhqk.softmax(-1), v_bkhe)


def stand_in(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Let it stand in for the kernels; says how often each was called."""
    count: Counter[str] = Counter()

    def plain(q: Tensor, k: Tensor, v: Tensor, causal: bool, softmax_scale: float) -> Tensor:
        count["plain"] += 1
        return attend(q, k, v, causal, softmax_scale)

    def varlen(
        q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor, max_seqlen_q: int,
        max_seqlen_k: int, causal: bool, softmax_scale: float,
    ) -> Tensor:  # fmt: skip
        count["varlen"] += 1
        lengths = cu_seqlens_q.diff().tolist(), cu_seqlens_k.diff().tolist(), cu_seqlens_k.diff().tolist()
        rows = zip(*(each.split(length) for each, length in zip((q, k, v), lengths, strict=True)), strict=True)
        return torch.cat([attend(*(each[None] for each in row), causal, softmax_scale)[0] for row in rows])

    utils = modeling_flash_attention_utils

    def kernels(kind: str, *args: Any, **more: Any) -> Any:
        assert kind in KINDS
        return plain, varlen, None, utils._pad_input, utils._unpad_input

    monkeypatch.setattr(utils, "_lazy_imports", kernels)
    for name in ("loaded_implementation", "flash_fn", "flash_varlen_fn", "flash_with_kvcache_fn", "pad_fn", "unpad_fn"):
        monkeypatch.setattr(utils, f"_{name}", None)
    for name in ("_process_flash_kwargs_fn", "_process_with_kvcache_kwargs_fn"):
        monkeypatch.setattr(utils, name, None)
    # as transformers registers a kernel that it loads
    masks = masking_utils.ALL_MASK_ATTENTION_FUNCTIONS._global_mapping
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, KERNEL, flash_attention_forward)
    monkeypatch.setitem(masks, KERNEL, masking_utils.flash_attention_mask)
    return count


def flash(family: str, kind: str = "flash_attention_2") -> Any:
    """The model that ``built(samples()[family])`` is, on flash attention."""
    model = fresh(samples()[family])
    model.config._attn_implementation = kind  # loading it so would look for the package
    return model
