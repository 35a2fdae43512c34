"""The sizes of a model that its compute follows from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from eos_platform.costs.layers import LayerShape, layer_shapes
from eos_platform.models.adapters.target import parts_of
from eos_platform.models.loading.unwrap import unwrapped


@dataclass(frozen=True)
class DecoderShape:
    """The sizes of a Llama-style decoder; where layers are others, what each of them costs."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    key_width: int = 64  # of the vision tower's keys, which tokens may be compared by
    units: int = 1  # of as many visual tokens as an operator is for, in a prompt; each is reduced by itself
    own: tuple[LayerShape, ...] = ()  # of each layer; empty: all are as the sizes above say
    gated: bool = False  # queries are projected together with a gate of each


@dataclass(frozen=True)
class VisionShape:
    """The sizes of a CLIP-style vision tower and of the projector after it."""

    layers: int
    hidden: int
    intermediate: int
    tokens: int  # visual tokens; the tower has a class token more
    patch: int  # numbers in one patch of pixels
    used: int  # layers whose output the projector takes
    text_hidden: int
    depth: int  # layers that lead to the visual tokens
    head_dim: int


def shape_of(model: Any) -> DecoderShape:
    """The sizes of a model's decoder."""
    model = unwrapped(model)
    parts = parts_of(model)
    config, vision = parts.language_model.config, model.config.vision_config
    asked = parts.reader(0).self_attn  # of layers that differ, what the first has: ``own`` knows the others
    patch_heads = getattr(vision, "num_attention_heads", None) or getattr(vision, "num_heads", 1)
    shape = DecoderShape(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=asked.o_proj.in_features // asked.head_dim,
        kv_heads=asked.k_proj.out_features // asked.head_dim,
        head_dim=asked.head_dim,
        intermediate=getattr(config, "intermediate_size", 0),  # of experts, see below
        vocab=config.vocab_size,
        key_width=(getattr(vision, "hidden_size", None) or vision.embed_dim) // patch_heads,
    )
    own = layer_shapes(parts.layers, config)
    rows, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    plain = LayerShape(_token(shape), 2 * rows, 0, 2 * keys, rows, keys)
    if all(layer == plain for layer in own):
        return shape
    gated = asked.q_proj.out_features > asked.o_proj.in_features
    usual = sum(layer.token for layer in own) / len(own) - _token(replace(shape, intermediate=0))
    return replace(shape, own=own, gated=gated, intermediate=max(1, round(usual / (3 * shape.hidden))))


def _token(shape: DecoderShape) -> int:
    """Products that a Llama's layer makes of a token by itself."""
    heads, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return shape.hidden * (2 * heads + 2 * keys + 3 * shape.intermediate)


def vision_shape_of(model: Any) -> VisionShape:
    """The sizes of a model's vision tower and projector."""
    model = unwrapped(model)
    parts, config = parts_of(model), model.config
    vision, used = config.vision_config, config.vision_feature_layer
    return VisionShape(
        layers=vision.num_hidden_layers,
        hidden=vision.hidden_size,
        intermediate=vision.intermediate_size,
        tokens=parts.grid[0] * parts.grid[1],
        patch=vision.num_channels * vision.patch_size**2,
        used=1 if isinstance(used, int) else len(used),
        text_hidden=config.text_config.hidden_size,
        depth=parts.used,
        head_dim=vision.hidden_size // vision.num_attention_heads,
    )
