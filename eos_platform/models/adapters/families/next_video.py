"""LLaVA-NeXT-Video: LLaVA-NeXT, and films of frames, each pooled into fewer tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eos_platform.models.adapters.anyres import LlavaNext
from eos_platform.models.adapters.base import Call, Parts, encoded
from eos_platform.models.runtime.visual_spans import MediaItem


class NextVideo(LlavaNext):
    """A film's frames are units."""

    name = "LLaVA-NeXT-Video"
    model_types = ("llava_next_video",)

    def media_items(self, parts: Parts, call: Call, captured: Sequence[object]) -> Mapping[str, Sequence[MediaItem]]:
        """Pictures as LLaVA-NeXT has them, then films."""
        items = dict(super().media_items(parts, call, captured))
        films, pooled = call.get("pixel_values_videos"), encoded(call, "video")
        side = parts.grid[0] // int(parts.body.config.spatial_pool_stride)
        frames = [] if films is None else [films.shape[1]] * len(films)
        if pooled is not None:
            frames = [one.shape[-2] // side**2 if one.dim() == 2 else one.shape[0] for one in pooled]
        if frames:
            items["video"] = [MediaItem(((side, side),) * count) for count in frames]
        return items
