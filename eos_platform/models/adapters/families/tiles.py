"""Families whose every picture, or tile of one, becomes equally many tokens: Aya Vision, Command A Vision, Ovis 2,
DeepSeek-VL, Idefics 2."""

from __future__ import annotations

from typing import Any

from eos_platform.models.adapters.fixed import Fixed, SmolVLM
from eos_platform.models.runtime.visual_spans import Grid


class Cohere(Fixed):
    """Aya Vision and Command A Vision: windows in most layers; the others look everywhere and know no positions."""

    name = "Aya/Cohere 2 Vision"
    model_types = ("aya_vision", "cohere2_vision")
    own_masks = True
    paired_rope = True
    unturned = ("full_attention",)

    def grid(self, config: Any) -> Grid:
        """The tower's patches, shuffled into fewer."""
        side = config.vision_config.image_size // config.vision_config.patch_size // config.downsample_factor
        return side, side


class Ovis2(Fixed):
    """Ovis 2: visual words, mixed from a table; what says where tiles begin and end is text to an operator."""

    name = "Ovis 2"
    model_types = ("ovis2",)
    projectors = ("visual_embeddings_table",)

    def grid(self, config: Any) -> Grid:
        """The tower's patches, side by side in one token."""
        vision = config.vision_config
        side = -(-(vision.image_size // vision.patch_size) // vision.hidden_stride)
        return side, side


class DeepseekVl(Fixed):
    """DeepSeek-VL: one tower, a token a patch."""

    name = "DeepSeek-VL"
    model_types = ("deepseek_vl",)
    projectors = ("aligner",)

    def grid(self, config: Any) -> Grid:
        """The tower's patches."""
        side = config.vision_config.image_size // config.vision_config.patch_size
        return side, side


class Idefics2(SmolVLM):
    """Idefics 2: a resampler asks each picture the same questions; its answers have no places, and are one row."""

    name = "Idefics 2"
    squares = False
    model_types = ("idefics2",)

    def grid(self, config: Any) -> Grid:
        """As many as questions."""
        return 1, int(config.perceiver_config.resampler_n_latents)
