"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL: images of any size, films, 3-D positions; in the last, deepstack features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from eos_platform.models.adapters.base import Call, Family, Parts, encoded
from eos_platform.models.attention.patch_queries import received_in_runs
from eos_platform.models.runtime.visual_spans import Grid, MediaItem

USUAL = (32, 32)  # the grid an operator made for such a model refers to, unless it says otherwise


class Qwen(Family):
    """An image is one unit, and so is each frame of a film (two pictures that the tower has joined)."""

    name = "Qwen-VL"
    model_types: ClassVar[tuple[str, ...]] = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
    varies = True
    axes = 3
    rows_of_patches: ClassVar[bool] = True  # the tower is given such, and merges squares that stand side by side

    def grid(self, config: Any) -> Grid:
        """Sizes vary; 1,024 tokens are taken as usual."""
        return USUAL

    def merge(self, parts: Parts) -> int:
        """How many patches along a side become one visual token."""
        return int(parts.tower.spatial_merge_size)

    def tower_attention(self, parts: Parts) -> Any | None:
        """Of towers that see all pictures as one row of patches."""
        blocks = getattr(parts.tower, "blocks", None)
        attention = getattr(blocks[-1], "attn", None) if blocks is not None else None
        return attention if self.rows_of_patches and hasattr(attention, "qkv") else None

    def received(self, parts: Parts, attention: Any, call: Call, tower: Call) -> tuple[Tensor, ...]:
        """Of each visual token's patches, which stand side by side; windows are put back in order."""
        ends, merge = call["cu_seqlens"].tolist(), self.merge(parts)
        lengths = [after - before for before, after in pairwise(ends)]
        received_k = received_in_runs(
            attention, call["hidden_states"], call["position_embeddings"], lengths, attention.num_heads
        )
        received_k = received_k.unflatten(0, (-1, merge * merge)).mean(1)
        order_k = _window_order(parts.tower, tower["grid_thw"], merge)
        if order_k is not None:
            received_k = received_k[order_k.to(received_k.device).argsort()]
        frames = [(h // merge) * (w // merge) for t, h, w in tower["grid_thw"].tolist() for _ in range(t)]
        return tuple(received_k.split(frames))

    def grid_module(self, parts: Parts) -> Any | None:
        """The tower is told every image's grid."""
        return parts.tower

    def captured_grids(self, call: Call) -> Any:
        """Grids of patches (the model itself reads them on the host, too)."""
        return call["grid_thw"].tolist()

    def sizes(self, call: Call) -> Sequence[Any]:
        """The same, as the model's processor says."""
        given = (call.get(name) for name in ("image_grid_thw", "video_grid_thw"))
        return [grids.tolist() for grids in given if grids is not None]

    def media_items(self, parts: Parts, call: Call, captured: Sequence[Any]) -> Mapping[str, Sequence[MediaItem]]:
        """Of each image, and of each frame of each film; films were encoded last."""
        merge = self.merge(parts)
        kinds = [
            kind
            for name, kind in (("pixel_values", "image"), ("pixel_values_videos", "video"))
            if call.get(name) is not None or encoded(call, kind) is not None
        ]
        lately = list(captured)[-len(kinds) :]
        return {
            kind: [MediaItem(((h // merge, w // merge),)) for t, h, w in grids for _ in range(t)]
            for kind, grids in zip(kinds, lately, strict=True)
        }


def _window_order(tower: Any, grid_thw: Tensor, merge: int) -> Tensor | None:
    """In which order a tower with windows has its squares of patches; None: it has none."""
    if not hasattr(tower, "window_size"):
        return None
    if hasattr(tower, "get_window_index"):  # before transformers 5.20 or so
        return torch.as_tensor(tower.get_window_index(grid_thw)[0])
    from transformers.vision_utils import get_vision_window_index

    found: Tensor = get_vision_window_index(
        grid_thw, spatial_merge_size=merge, window_size=tower.window_size, patch_size=tower.patch_size, kwargs={}
    )[0]
    return found
