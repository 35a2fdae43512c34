"""Qwen2.5-VL: pictures of any size, a token every 28 pixels, positions of three axes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from eos_platform.tasks.scenes_v2.training.families.base import MEAN, SHARED, STD, TEXT, Family, Size, ended

PATCH, MERGE = 14, 2
STEP = PATCH * MERGE
TOLD: dict[str, Any] = {
    "size": {"shortest_edge": 4 * STEP**2, "longest_edge": 576 * STEP**2},  # pixels in all, whatever the name says
    "patch_size": PATCH,
    "merge_size": MERGE,
    "image_mean": list(MEAN),
    "image_std": list(STD),
}


class Qwen(Family):
    """144 tokens of pictures of five shapes, 64 of three smaller ones."""

    sizes = (
        *((336, 336), (448, 252), (252, 448), (224, 224)),
        *((336, 336), (504, 224), (224, 504), (448, 112)),
        *((336, 336), (448, 252), (252, 448), (112, 448)),
    )
    image_words = "<|vision_start|><|image_pad|><|vision_end|>"
    specials = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")

    def __init__(self) -> None:
        self.known: dict[tuple[int, ...], dict[str, Tensor]] = {}

    def new_model(self, vocabulary: int, ids: Mapping[str, int]) -> Any:
        text = {
            "vocab_size": vocabulary,
            **TEXT,
            **SHARED,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [6, 7, 7]},
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "tie_word_embeddings": True,
        }
        vision = {
            "depth": 4,
            "hidden_size": 128,
            "intermediate_size": 352,
            "num_heads": 4,
            "out_hidden_size": TEXT["hidden_size"],
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
            "window_size": 4 * STEP,
            "fullatt_block_indexes": [0, 1, 2, 3],
        }
        config = Qwen2_5_VLConfig(
            text_config=text,
            vision_config=vision,
            image_token_id=ids["<|image_pad|>"],
            video_token_id=ids["<|video_pad|>"],
            vision_start_token_id=ids["<|vision_start|>"],
            vision_end_token_id=ids["<|vision_end|>"],
            tie_word_embeddings=True,
        )
        return ended(Qwen2_5_VLForConditionalGeneration(config))

    def new_image_processor(self) -> Any:
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        return Qwen2VLImageProcessorPil(**TOLD)

    def new_processor(self, tokenizer: PreTrainedTokenizerFast) -> Any:
        from transformers import Qwen2_5_VLProcessor
        from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

        return Qwen2_5_VLProcessor(self.new_image_processor(), tokenizer, Qwen2VLVideoProcessor(**TOLD))

    def placeholder(self, ids: Mapping[str, int]) -> int:
        return ids["<|image_pad|>"]

    def prompt(self, size: Size) -> str:
        count = (size[0] // STEP) * (size[1] // STEP)
        return f"<|vision_start|>{'<|image_pad|>' * count}<|vision_end|>"

    def positions(self, prefix_p: Tensor, placeholder: int, size: Size) -> tuple[Tensor, int]:
        rows, columns = size[1] // STEP, size[0] // STEP
        at = (prefix_p == placeholder).nonzero()[:, 0]
        start = int(at[0])
        positions = torch.arange(len(prefix_p)).repeat(3, 1)
        positions[0, at] = start
        positions[1, at] = start + torch.arange(rows).repeat_interleave(columns)
        positions[2, at] = start + torch.arange(columns).repeat(rows)
        after = start + max(rows, columns)
        rest = len(prefix_p) - int(at[-1]) - 1
        positions[:, len(prefix_p) - rest :] = after + torch.arange(rest)
        return positions, after + rest

    def features(self, model: Any, pixels_bchw: Tensor) -> Tensor:
        b, _, height, width = pixels_bchw.shape
        rows, columns = height // STEP, width // STEP
        # rows, columns, then the patches of one token, each with its two equal frames
        x = pixels_bchw.view(b, 3, rows, MERGE, PATCH, columns, MERGE, PATCH).permute(0, 2, 5, 3, 6, 1, 4, 7)
        x = x.reshape(-1, 3, 1, PATCH, PATCH).expand(-1, -1, 2, -1, -1).reshape(-1, 6 * PATCH * PATCH)
        key = (b, height, width, pixels_bchw.device.index or 0)
        if key not in self.known:
            grid = torch.tensor([[1, height // PATCH, width // PATCH]] * b)
            self.known[key] = _windows(model.model.visual, grid, pixels_bchw.device)
        for block in model.model.visual.blocks:
            if model.training and not hasattr(block.attn, "eos_rows"):
                block.attn.forward = MethodType(_equal, block.attn)
            block.attn.eos_rows = b
        features: Tensor = model.model.visual(x, **self.known[key]).pooler_output
        return features.view(b, rows * columns, -1)

    def tower_layers(self, model: Any) -> list[Any]:
        return list(model.model.visual.blocks)

    def grid(self, size: Size) -> tuple[Tensor, int]:
        rows, columns = size[1] // STEP, size[0] // STEP
        return torch.arange(rows * columns).view(rows, columns), MERGE


def _windows(visual: Any, grid: Tensor, device: torch.device) -> dict[str, Tensor]:
    """What the tower would find out about a batch of these pictures every time anew."""
    from transformers import vision_utils

    index, seams = vision_utils.get_vision_window_index(
        grid, visual.spatial_merge_size, visual.window_size, visual.patch_size
    )
    layout = {"grid_thw": grid, "window_index": index, "cu_window_seqlens": seams}
    return {name: value.to(device) for name, value in layout.items()}


def _equal(self: Any, hidden_states: Tensor, position_embeddings: Any = None, **_: Any) -> Tensor:
    """The tower's attention where all pictures have one size: one call instead of one a picture."""
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision

    length = hidden_states.shape[0]
    q, k, v = self.qkv(hidden_states).reshape(length, 3, self.num_heads, -1).permute(1, 0, 2, 3).unbind(0)
    q, k = apply_rotary_pos_emb_vision(q, k, *position_embeddings)
    q, k, v = (x.view(self.eos_rows, -1, *x.shape[1:]).transpose(1, 2) for x in (q, k, v))
    x = F.scaled_dot_product_attention(q, k, v.to(q.dtype), scale=self.scaling)
    x = self.proj(x.transpose(1, 2).reshape(length, -1))
    out: Tensor = x
    return out
