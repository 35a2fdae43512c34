"""What one decoder layer costs, where a model's layers are not all Llama's: read off its modules.

Every weight that is multiplied counts once a token; of experts, as many as a token is sent to. Attention adds a product
for every pair of tokens; linear attention (the gated delta rule) adds those of its chunks instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

CHUNK = 64  # tokens of a chunk of linear attention, in transformers as in flash-linear-attention


@dataclass(frozen=True)
class LayerShape:
    """Products of one layer, a multiply-add each.

    Attributes:
        token: of each token by itself.
        pair: of each pair of tokens.
        chunk: of each chunk of ``CHUNK`` tokens.
        cached: numbers that its cache keeps of each token.
    """

    token: float
    pair: float
    chunk: float
    cached: int


def layer_shapes(layers: Sequence[Any], config: Any) -> tuple[LayerShape, ...]:
    """Of each layer of a decoder.

    Args:
        layers: of it.
        config: of the language model.
    """
    return tuple(_layer(layer, config) for layer in layers)


def _layer(layer: Any, config: Any) -> LayerShape:
    attention, token = getattr(layer, "self_attn", None), sum(_weights(layer, config))
    mixer = getattr(layer, "linear_attn", None)
    if attention is not None:
        heads = attention.o_proj.in_features
        shared = bool(getattr(attention, "is_kv_shared_layer", False))
        key = 0 if shared else attention.k_proj.out_features
        value = getattr(attention, "v_proj", None)
        return LayerShape(token, 2 * heads, 0, key + (key if shared or value is None else value.out_features))
    if mixer is None:
        return LayerShape(token, 0, 0, 0)
    heads, keys, values = mixer.num_v_heads, mixer.head_k_dim, mixer.head_v_dim
    chunk = heads * (CHUNK**2 * (2 * keys + values) + 3 * CHUNK * keys * values)
    return LayerShape(token, 0, chunk, 0)


def _weights(layer: nn.Module, config: Any) -> Iterator[float]:
    """Of each module, as often as a token meets it; by the sizes of modules, as weights of few bits are packed."""
    for module in layer.modules():
        if isinstance(module, nn.Linear):
            yield module.in_features * module.out_features
            continue
        for weight in module.parameters(recurse=False):
            if weight.dim() == 3 and not isinstance(module, nn.Conv1d):  # one matrix for each expert
                yield weight.numel() * _sent_to(config) / len(weight)
            elif weight.dim() >= 2:  # routers, convolutions
                yield weight.numel()


def _sent_to(config: Any) -> int:
    """To how many experts each token is."""
    for name in ("num_experts_per_tok", "top_k_experts", "moe_topk"):
        if getattr(config, name, None):
            return int(getattr(config, name))
    raise AttributeError(f"{type(config).__name__} does not say to how many experts a token is sent")
