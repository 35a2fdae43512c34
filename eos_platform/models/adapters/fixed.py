"""Families whose every image, or tile of one, becomes equally many visual tokens: InternVL, SmolVLM, the Gemmas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from eos_platform.models.adapters.base import Call, Family, Parts, encoded
from eos_platform.models.attention.patch_queries import projected, received
from eos_platform.models.runtime.visual_spans import Grid


class Fixed(Family):
    """One unit an image, or a tile; the whole picture is the last."""

    whole = -1
    squares: ClassVar[bool] = False  # each visual token is made of a square of the tower's patches

    def single_image(self, parts: Parts, call: Call) -> bool:
        """As many images as prompts."""
        prompts = call["inputs_embeds"] if call.get("input_ids") is None else call["input_ids"]
        images = call.get("pixel_values")
        images = encoded(call) if images is None else images
        return images is not None and len(images) == len(prompts) and images[0].shape[0] > 0

    def tower_attention(self, parts: Parts) -> Any | None:
        """Of towers like SigLIP's, all of whose patches make visual tokens by squares."""
        encoder = getattr(getattr(parts.tower, "vision_model", parts.tower), "encoder", None)
        layers = getattr(encoder, "layers", None)
        attention = getattr(layers[-1], "self_attn", None) if layers is not None else None
        return attention if self.squares and hasattr(attention, "q_proj") else None

    def received(self, parts: Parts, attention: Any, call: Call, tower: Call) -> tuple[Tensor, ...]:
        """Of each square of patches, as their places go."""
        x_mkd, (rows, columns) = call["hidden_states"], parts.grid
        mask = call.get("attention_mask")
        if isinstance(mask, Tensor) and mask.dim() != 4:  # flash attention's, of padding among the patches
            mask = mask[:, None, None].bool() if mask.dim() == 2 else None
        queries, keys = projected(attention, x_mkd)
        received_mk = received(queries, keys, attention.head_dim**-0.5, mask)
        side = math.isqrt(received_mk.shape[1])
        received_mk = received_mk[:, received_mk.shape[1] - side * side :]  # without a class token in front
        square_mhw = received_mk.unflatten(1, (rows, side // rows, columns, side // columns)).mean((2, 4))
        return tuple(square_mhw.flatten(1))


class InternVL(Fixed):
    """InternVL (HF): tiles of a picture, or frames of a film, one run of placeholders."""

    name = "InternVL"
    model_types = ("internvl",)
    squares = True

    def tower_attention(self, parts: Parts) -> Any | None:
        """Under its own names."""
        return parts.tower.encoder.layer[-1].attention

    def grid(self, config: Any) -> Grid:
        """The tower's patches, shuffled into fewer."""
        sizes, patches = (_two(getattr(config.vision_config, name)) for name in ("image_size", "patch_size"))
        rows, columns = (
            int(size // patch * config.downsample_ratio) for size, patch in zip(sizes, patches, strict=True)
        )
        return rows, columns


class SmolVLM(Fixed):
    """SmolVLM and Idefics3: tiles of a picture between words that say where they stand, and the whole picture last."""

    name = "SmolVLM/Idefics3"
    model_types: ClassVar[tuple[str, ...]] = ("smolvlm", "idefics3")
    squares = True

    def grid(self, config: Any) -> Grid:
        """The tower's patches, shuffled into fewer."""
        side = config.vision_config.image_size // config.vision_config.patch_size // config.scale_factor
        return side, side

    def single_image(self, parts: Parts, call: Call) -> bool:
        """One tile a prompt; tiles that only fill up a batch cannot be told from shapes where there are more."""
        images, prompts = call.get("pixel_values"), call.get("input_ids")
        prompts = call["inputs_embeds"] if prompts is None else prompts
        if images is not None:
            return len(images) == len(prompts) and images.shape[1] == 1
        pooled = encoded(call)
        one = parts.grid[0] * parts.grid[1]
        return isinstance(pooled, list) and len(pooled) == len(prompts) and all(len(each) == one for each in pooled)


class Gemma3(Fixed):
    """Gemma 3: both ways among an image's tokens, windows in most layers, rotary embeddings of two kinds."""

    name = "Gemma 3"
    whole = 0
    model_types = ("gemma3",)
    own_masks = both_ways = True
    rope_by_kind = True
    squares = True

    def grid(self, config: Any) -> Grid:
        """The tower's patches, pooled into fewer."""
        side = int(config.mm_tokens_per_image**0.5)
        return side, side


class PaliGemma(Fixed):
    """PaliGemma 1 and 2: both ways within the whole prompt, positions from 1."""

    name = "PaliGemma"
    model_types: ClassVar[tuple[str, ...]] = ("paligemma",)
    squares = True
    own_masks = both_ways = True
    answer_lead = ""  # a line's end stands there already
    answers_typed: ClassVar[Mapping[str, int]] = {"token_type_ids": 1}

    def grid(self, config: Any) -> Grid:
        """The tower's patches."""
        side = config.vision_config.image_size // config.vision_config.patch_size
        return side, side

    def positions_of(self, call: Call, position: Tensor) -> Tensor:
        """From 1."""
        return position + 1

    def logits(self, model: Any, hidden_bsd: Tensor) -> Tensor:
        """Capped where the language model's are (Gemma 3, although its configuration has a cap, does not)."""
        logits_bsv = super().logits(model, hidden_bsd)
        cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
        return logits_bsv if cap is None else torch.tanh(logits_bsv / cap) * cap


def _two(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
