"""Families whose vision towers take pictures of any size as rows of patches, with their grids: GLM-4V, PaddleOCR-VL,
Qwen2.5-Omni's thinker, Qwen3-VL with experts."""

from __future__ import annotations

from eos_platform.models.adapters.base import Parts
from eos_platform.models.adapters.qwen import Qwen


class QwenMoe(Qwen):
    """Qwen3-VL with experts: the same, and each token's feed-forward part is that of the experts it is sent to."""

    name = "Qwen3-VL-MoE"
    model_types = ("qwen3_vl_moe",)


class Omni(Qwen):
    """The thinker of Qwen2.5-Omni, its part that sees, hears and writes; what it hears is text to an operator."""

    name = "Qwen2.5-Omni thinker"
    model_types = ("qwen2_5_omni_thinker",)


class Glm(Qwen):
    """GLM-4V and GLM-4.6V: norms on both sides of attention, and half of each head turned, in pairs of neighbours."""

    name = "GLM-4V"
    model_types = ("glm4v", "glm46v")
    paired_rope = True
    rows_of_patches = False


class PaddleOcr(Qwen):
    """PaddleOCR-VL: the tower's patches are merged by its projector."""

    name = "PaddleOCR-VL"
    model_types = ("paddleocr_vl",)
    projectors = ("projector",)
    rows_of_patches = False

    def merge(self, parts: Parts) -> int:
        """By the configuration, as the tower knows none."""
        return int(parts.body.config.vision_config.spatial_merge_size)
