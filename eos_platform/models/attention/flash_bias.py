"""Sizes of tokens in flash attention, whose kernels add nothing to logits: spare dimensions of every head carry them.

Once heads are wider, what is added to the logits of a key is a product like the others: q'.k' = q.k + UNIT * its share.
To come between rotary embeddings and kernel, modules of attention are given a copy of their config that names a kind of
ours; the function registered for it widens the heads and calls the one of the kind it was. Masks and all else go by the
model's own config. The cache holds keys and values as they were, so every step copies those it reads.
Legend: b batch, h heads of queries, g heads of keys, q queries, k keys, p tokens of the prompt, e width of a head.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import torch
from torch import Tensor, nn

SPARE = 8  # the kernels' widths go in steps of 8
WIDEST = 256 - SPARE  # of heads that they take, but those of the fourth generation
WIDEST_4 = 128 - SPARE  # which on some devices end there
UNIT = 8.0  # what queries hold in every spare dimension, so that keys hold nothing large (at most some tens)
PARTS = 3  # of a share, each of bfloat16's 8 bits: together those of single precision, whatever the kernel runs in
BIAS = "eos_bias_bp"  # the keyword that decoder layers hand down to it
_OURS = "eos|"


def widest(kind: str) -> int:
    """Dimensions of a head that a kind of flash attention has spare ones beside."""
    return WIDEST_4 if "flash_attention_4" in kind or "flash-attn4" in kind else WIDEST


class Carrier:
    """A module of attention that carries sizes, until this is removed."""

    def __init__(self, module: Any) -> None:
        self.module, self.config = module, module.config
        self.kind = _OURS + module.config._attn_implementation  # "flash" is still in it, as transformers asks
        config = copy(module.config)
        config._attn_implementation, config.eos_plain = self.kind, module.config
        module.config = config
        self._register()

    def remove(self) -> None:
        """The module is as it was."""
        self.module.config = self.config

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._register()  # perhaps another process, which never attached anything

    def _register(self) -> None:
        from transformers.modeling_utils import AttentionInterface

        AttentionInterface.register(self.kind, attend)


class _Plain:
    """A module of attention to the function of the kind it was, which asks its config for the name of the kernels."""

    def __init__(self, module: Any) -> None:
        self.module, self.config = module, module.config.eos_plain

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)


def attend(
    module: Any,
    query_bhqe: Tensor,
    key_bgke: Tensor,
    value_bgke: Tensor,
    mask: Tensor | None,
    *,
    scaling: float,
    eos_bias_bp: Tensor | None = None,
    **more: Any,
) -> tuple[Tensor, Any]:
    """Attention as transformers calls it, with ``eos_bias_bp`` added to the logits of the first p keys.

    Returns:
        Output (b, q, h, e), and what else the function of the kind it was returns.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    plain, width = _Plain(module), value_bgke.shape[-1]
    run = ALL_ATTENTION_FUNCTIONS[plain.config._attn_implementation]
    given = query_bhqe, key_bgke, value_bgke
    if eos_bias_bp is not None:
        given = widened(*given, eos_bias_bp, scaling)
    output_bqhe, weights = run(plain, *given, mask, scaling=scaling, **more)
    return output_bqhe[..., :width], weights


def widened(
    query_bhqe: Tensor, key_bgke: Tensor, value_bgke: Tensor, bias_bp: Tensor, scaling: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Heads with ``SPARE`` more dimensions, whose products times ``scaling`` hold the bias of each key.

    Args:
        query_bhqe: queries.
        key_bgke: keys: those of the prompt's tokens present, then later ones, whose bias is 0.
        value_bgke: values.
        bias_bp: to add to logits, in single precision.
        scaling: that logits are multiplied by.
    """
    batch, heads, keys, _ = key_bgke.shape
    rest_bk = nn.functional.pad(bias_bp.float() / (UNIT * scaling), (0, keys - bias_bp.shape[1]))
    parts = []
    for _ in range(PARTS):
        parts.append(rest_bk.bfloat16().float())
        rest_bk = rest_bk - parts[-1]
    share_bks = nn.functional.pad(torch.stack(parts, -1), (0, SPARE - PARTS)).to(key_bgke.dtype)
    return (
        nn.functional.pad(query_bhqe, (0, SPARE), value=UNIT),
        torch.cat((key_bgke, share_bks[:, None].expand(batch, heads, -1, -1)), -1),
        nn.functional.pad(value_bgke, (0, SPARE)),
    )
