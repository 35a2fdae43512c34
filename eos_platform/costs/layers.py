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
        rows, keys: width of the queries and keys that a site before it reads.
    """

    token: float
    pair: float
    chunk: float
    cached: int
    rows: int
    keys: int


def layer_shapes(layers: Sequence[Any], config: Any) -> tuple[LayerShape, ...]:
    """Of each layer of a decoder.

    Args:
        layers: of it.
        config: of the language model.
    """
    looking = [layer.self_attn for layer in layers if hasattr(layer, "self_attn")]
    shapes: list[LayerShape] = []
    for layer in reversed(layers):  # one that reads rows elsewhere reads them at the next that has any
        latest = (shapes[-1].rows, shapes[-1].keys) if shapes else _read(looking[-1])
        shapes.append(_layer(layer, config, latest))
    return tuple(reversed(shapes))


def _read(attention: Any) -> tuple[int, int]:
    """Widths of queries, less what gates them, and of keys."""
    keys = getattr(attention, "k_proj", None)
    return attention.o_proj.in_features, 0 if keys is None else keys.out_features


def _layer(layer: Any, config: Any, latest: tuple[int, int]) -> LayerShape:
    attention, token = getattr(layer, "self_attn", None), sum(_weights(layer, config))
    mixer = getattr(layer, "linear_attn", None)
    if attention is not None:
        rows, keys = _read(attention)
        return LayerShape(token, 2 * rows, 0, 2 * keys, rows, keys)
    if mixer is None:
        return LayerShape(token, 0, 0, 0, *latest)
    heads, keys, values = mixer.num_v_heads, mixer.head_k_dim, mixer.head_v_dim
    chunk = heads * (CHUNK**2 * (2 * keys + values) + 3 * CHUNK * keys * values)
    return LayerShape(token, 0, chunk, 0, *latest)


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
