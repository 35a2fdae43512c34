"""LLaVA-1.5: a CLIP tower with a class token, one image of one size after another, plainly causal attention."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.base import Call, Family, Parts, encoded
from eos_platform.models.runtime.visual_spans import Grid


class Llava(Family):
    """The one family whose vision tower operators reach into."""

    name = "LLaVA-1.5"
    model_types = ("llava",)
    reads_tower = True

    def parts(self, model: Any) -> Parts:
        """The parts of a LLaVA, its vision tower's blocks too.

        Raises:
            EosError: not a Llama-like language model, or visual tokens that are no grid.
        """
        config = model.config
        if config.vision_feature_select_strategy != "default":
            raise EosError("only vision_feature_select_strategy 'default' is supported (visual tokens form a grid)")
        parts = super().parts(model)
        tower = parts.tower
        blocks = tuple(getattr(getattr(tower, "vision_model", tower), "encoder", tower).layers)
        # hidden state 0 is the embeddings, hidden state i the output of block i - 1
        chosen = config.vision_feature_layer
        states = [chosen] if isinstance(chosen, int) else list(chosen)
        used = max(state if state >= 0 else len(blocks) + 1 + state for state in states)
        return replace(parts, blocks=blocks, used=used, states=len(states))

    def grid(self, config: Any) -> Grid:
        """As many as the tower makes of its one size of image."""
        side = config.vision_config.image_size // config.vision_config.patch_size
        return side, side

    def single_image(self, parts: Parts, call: Call) -> bool:
        """As many images as prompts."""
        prompts = call["inputs_embeds"] if call.get("input_ids") is None else call["input_ids"]
        images = call.get("pixel_values")
        images = encoded(call) if images is None else images
        return images is not None and len(images) == len(prompts)
