"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL: images of any size, films, 3-D positions; in the last, deepstack features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from eos_platform.models.adapters.base import Call, Family, Parts, encoded
from eos_platform.models.runtime.visual_spans import Grid, MediaItem

USUAL = (32, 32)  # the grid an operator made for such a model refers to, unless it says otherwise


class Qwen(Family):
    """An image is one unit, and so is each frame of a film (two pictures that the tower has joined)."""

    name = "Qwen-VL"
    model_types: ClassVar[tuple[str, ...]] = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
    varies = True
    axes = 3

    def grid(self, config: Any) -> Grid:
        """Sizes vary; 1,024 tokens are taken as usual."""
        return USUAL

    def merge(self, parts: Parts) -> int:
        """How many patches along a side become one visual token."""
        return int(parts.tower.spatial_merge_size)

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
