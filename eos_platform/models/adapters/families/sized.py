"""Families that are told every picture's size and whose positions count tokens: Mistral 3, LightOnOCR, VideoLLaMA 3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.base import Call, Family, Parts, encoded
from eos_platform.models.adapters.qwen import USUAL, Qwen
from eos_platform.models.runtime.visual_spans import Grid, MediaItem


class Mistral3(Family):
    """Mistral Small 3.1 and later, Ministral 3: a picture is one unit; words stand behind its rows."""

    name = "Mistral 3"
    model_types = ("mistral3",)
    varies = True

    def grid(self, config: Any) -> Grid:
        """Sizes vary; 1,024 tokens are taken as usual."""
        return USUAL

    def grid_module(self, parts: Parts) -> Any | None:
        """The tower is told every picture's size."""
        return parts.tower

    def captured_grids(self, call: Call) -> Any:
        """Sizes in pixels (the model itself reads them on the host, too)."""
        return _listed(call["image_sizes"])

    def sizes(self, call: Call) -> Sequence[Any]:
        """The same, as the model's processor says."""
        return [] if call.get("image_sizes") is None else [_listed(call["image_sizes"])]

    def media_items(self, parts: Parts, call: Call, captured: Sequence[Any]) -> Mapping[str, Sequence[MediaItem]]:
        """Patches, merged into fewer."""
        if call.get("pixel_values") is None and encoded(call) is None:
            return {}
        config = parts.body.config
        side = int(config.vision_config.patch_size) * int(config.spatial_merge_size)
        return {"image": [MediaItem(((int(height) // side, int(width) // side),)) for height, width in captured[-1]]}


class LightOnOcr(Mistral3):
    """LightOnOCR: the same in front of a Qwen3."""

    name = "LightOnOCR"
    model_types = ("lighton_ocr",)
    towers = ("vision_encoder",)
    projectors = ("vision_projection",)


class VideoLlama3(Qwen):
    """VideoLLaMA 3: Qwen's patches and grids, each merged by a number of its own, and positions of one axis."""

    name = "VideoLLaMA 3"
    model_types = ("video_llama_3",)
    axes = 1
    projectors = ("projector",)

    def captured_grids(self, call: Call) -> Any:
        """Grids of patches, and how many along a side become one token."""
        return _merged(call["grid_thw"], call["merge_sizes"])

    def sizes(self, call: Call) -> Sequence[Any]:
        """The same, as the model's processor says."""
        kinds = ("image", "video")
        given = [(call.get(f"{kind}_grid_thw"), call.get(f"{kind}_merge_sizes")) for kind in kinds]
        return [_merged(grids, merges) for grids, merges in given if grids is not None]

    def media_items(self, parts: Parts, call: Call, captured: Sequence[Any]) -> Mapping[str, Sequence[MediaItem]]:
        """Of each image, and of each frame of each film.

        Raises:
            EosError: a film whose frames were thinned out: what is left of them is no grid.
        """
        if call.get("video_compression_mask") is not None:
            raise EosError(
                "frames of a film that were thinned out are no grids: leave video_compression_mask out (of the"
                " processor: use_token_compression=False)"
            )
        return super().media_items(parts, call, captured)

    def merge(self, parts: Parts) -> int:
        """What is captured is merged already."""
        return 1


def _merged(grids: Any, merges: Any) -> list[list[int]]:
    return [[t, h // merge, w // merge] for (t, h, w), merge in zip(grids.tolist(), merges.tolist(), strict=True)]


def _listed(sizes: Any) -> Any:
    return sizes.tolist() if hasattr(sizes, "tolist") else [list(size) for size in sizes]
