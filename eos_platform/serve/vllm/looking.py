"""What a decoder layer of vLLM says about the visual tokens that enter it: the same as attached, of one prompt.

Legend: k tokens present, n visual tokens, t other tokens, d width, e width of a head.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from eos_platform.models.attention.queries import AttentionInputs, layer_features
from eos_platform.models.attention.rope import Rope


class Reader:
    """A decoder layer whose projections are one, as one that has them apart (for ``layer_features``)."""

    def __init__(self, layer: Any) -> None:
        attention = layer.self_attn
        self.self_attn, self.layer, self.fused = self, layer, attention.qkv_proj
        self.head_dim, self.scaling = attention.head_dim, attention.scaling
        self.num_key_value_groups = attention.num_heads // attention.num_kv_heads
        self.sizes = (attention.q_size, attention.kv_size, attention.kv_size)

    def input_layernorm(self, x_bkd: Tensor) -> Tensor:
        """The layer's."""
        normed: Tensor = self.layer.input_layernorm(x_bkd)
        return normed

    def q_proj(self, x_bkd: Tensor) -> Tensor:
        """Queries."""
        return self.fused(x_bkd)[0].split(self.sizes, -1)[0]

    def k_proj(self, x_bkd: Tensor) -> Tensor:
        """Keys."""
        return self.fused(x_bkd)[0].split(self.sizes, -1)[1]


def rope_at(position_k: Tensor, theta: float, width: int) -> Rope:
    """Plain rotary embeddings (1, k, e)."""
    steps = torch.arange(0, width, 2, device=position_k.device).float() / width
    angle_ke = position_k.float()[:, None] / theta**steps
    both_1ke = torch.cat((angle_ke, angle_ke), -1)[None]
    return Rope(both_1ke.cos(), both_1ke.sin())


def features(
    names: Collection[str],
    layer: Any,
    x_kd: Tensor,
    position_k: Tensor,
    theta: float,
    bias_k: Tensor | None,
    visual_k: Tensor,
    last: int,
    question_d: Tensor | None,
    vision_n: Tensor,
) -> dict[str, Tensor]:
    """Features of all visual tokens of a prompt, (1, n) each, by name, and ``question`` (1, d).

    Args:
        names: to be read.
        layer: of vLLM's decoder, that the site stands before.
        x_kd: what enters it.
        position_k: of these tokens.
        theta: base of the rotary embeddings.
        bias_k: on their keys' logits.
        visual_k: which are visual.
        last: place of the prompt's last token; what is behind it was generated.
        question_d: mean direction of the text, as it entered the language model.
        vision_n: how much the vision tower looked at each visual token.
    """
    place_k = torch.arange(len(x_kd), device=x_kd.device)
    visual_n, other_t = visual_k.nonzero()[:, 0], (~visual_k).nonzero()[:, 0]
    text_k = (place_k > visual_n[-1]) & (place_k <= last)
    reader = Reader(layer)
    inputs = AttentionInputs(
        x_bkd=x_kd[None],
        rope=rope_at(position_k, theta, reader.head_dim),
        valid_bk=torch.ones_like(visual_k)[None],
        bias_bk=None if bias_k is None else bias_k[None],
        visual_bn=visual_n[None],
        other_bt=other_t[None],
        text_bk=text_k[None],
        last_b=torch.tensor([last], device=x_kd.device),
        question_bd=None if question_d is None else question_d[None],
    )
    return layer_features(names, reader, inputs, {"vision": vision_n[None]})
