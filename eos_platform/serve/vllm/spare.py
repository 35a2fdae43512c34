"""Sizes of tokens in an engine whose kernels add nothing to logits: spare dimensions of every head carry them.

Queries hold a constant there and keys their bias, so that its product with the constant joins the logits. It lies in
the key-value cache with the key, and later steps need to know nothing (as on flash attention when attached:
``models/attention/flash_bias.py``).
Legend: s tokens of a step, h heads, e width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from vllm.model_executor.layers.attention import Attention

from eos_platform.common.errors import EosError

UNIT = 8.0  # what queries hold, so that keys hold nothing large
PARTS = 3  # of a bias, each of bfloat16's 8 bits: together those of single precision
STEP, WIDEST = 8, 256


class Biased(nn.Module):
    """Attention with wider heads, called as the one whose place it takes."""

    def __init__(self, old: Any, bias_s: Tensor, vllm_config: Any) -> None:
        """``old``: the engine's module; ``bias_s``: of this step's tokens, filled before layers are called."""
        super().__init__()
        self.width, self.scale, self.bias_s = old.head_size, old.impl.scale, bias_s
        self.wider = _wider(old)
        context = vllm_config.compilation_config.static_forward_context
        context.pop(old.layer_name)
        self.inner = Attention(
            old.num_heads,
            self.wider,
            self.scale,
            num_kv_heads=old.num_kv_heads,
            cache_config=vllm_config.cache_config,
            quant_config=vllm_config.quant_config,
            per_layer_sliding_window=old.sliding_window,
            prefix=old.layer_name,
        )

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """All (s, h e); likewise what comes out."""
        rest_s, parts = self.bias_s[: len(query)] / self.scale / UNIT, []
        for _ in range(PARTS):
            parts.append(rest_s.bfloat16().float())
            rest_s = rest_s - parts[-1]
        spare = self.wider - self.width
        query_she, key_she, value_she = (
            nn.functional.pad(x.unflatten(-1, (-1, self.width)), (0, spare)) for x in (query, key, value)
        )
        query_she[..., self.width : self.width + PARTS] = UNIT
        key_she[..., self.width : self.width + PARTS] = torch.stack(parts, -1)[:, None].to(key.dtype)
        out = self.inner(query_she.flatten(1), key_she.flatten(1), value_she.flatten(1))
        return out.unflatten(-1, (-1, self.wider))[..., : self.width].flatten(-2)


def _wider(old: Any) -> int:
    """The next width of heads that the engine's kernels take.

    Raises:
        EosError: there is none.
    """
    for width in range(old.head_size + STEP, WIDEST + 1, STEP):
        if old.attn_backend.supports_head_size(width):
            return width
    raise EosError(f"no spare dimensions beside heads of {old.head_size} in {old.attn_backend.get_name()}")


def lacks_width(layers: Any) -> bool:
    """Whether the engine's kernels take no heads of the width that a decoder has."""
    first = layers[0].self_attn.attn
    return not first.attn_backend.supports_head_size(first.head_size)


def carry_sizes(layers: Any, vllm_config: Any) -> Tensor:
    """Widen every layer's heads.

    Args:
        layers: of the decoder.
        vllm_config: the engine's.

    Returns:
        a buffer (most tokens of a step,): what is written there before layers are called joins the logits of keys.

    Raises:
        EosError: layers are spread over a pipeline, or tokens are guessed ahead, whose biases nobody would write.
    """
    if vllm_config.parallel_config.pipeline_parallel_size > 1:
        raise EosError("sizes of tokens are not carried along a pipeline (--pipeline-parallel-size)")
    if vllm_config.speculative_config is not None:
        raise EosError("sizes of tokens are not carried through speculative decoding")
    most = vllm_config.scheduler_config.max_num_batched_tokens + 1024  # and padding
    bias_s = torch.zeros(most, device=vllm_config.device_config.device)
    for layer in layers:
        layer.self_attn.attn = Biased(layer.self_attn.attn, bias_s, vllm_config)
    return bias_s
