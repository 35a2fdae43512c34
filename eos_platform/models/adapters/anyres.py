"""LLaVA-NeXT and LLaVA-OneVision: the whole picture, then its tiles put together, with an end of line in every row.

A picture is two units: the whole one, and what the tiles show, whose grid has a column of line ends. That grid is found
from the number of visual tokens alone, as ``generate`` passes no more on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.base import Call, Family, Parts, encoded
from eos_platform.models.runtime.visual_spans import Grid, MediaItem


class AnyRes(Family):
    """What both have in common."""

    varies = True

    def grid(self, config: Any) -> Grid:
        """Of the whole picture."""
        side = config.vision_config.image_size // config.vision_config.patch_size
        return side, side

    def largest(self, config: Any) -> int | None:
        """Tiles beyond whose area what they show is shrunk; None: any number is taken as it is."""
        return None

    def media_items(self, parts: Parts, call: Call, captured: Sequence[Any]) -> Mapping[str, Sequence[MediaItem]]:
        """By the length of what was encoded, or by the sizes of the pictures."""
        pooled, config = encoded(call), parts.body.config
        if pooled is not None:
            return {"image": [self._of_tokens(config, len(each)) for each in pooled]}
        if call.get("pixel_values") is None:
            return {}
        sizes = call["image_sizes"]
        sizes = sizes.tolist() if hasattr(sizes, "tolist") else sizes  # the model itself reads them, too
        tiled = self.tiled(call, len(sizes))
        return {"image": [self.item(config, int(h), int(w), cut) for (h, w), cut in zip(sizes, tiled, strict=True)]}

    def item(self, config: Any, height: int, width: int, cut: bool = True) -> MediaItem:
        """The units of a picture of so many pixels; ``cut``: whether it is cut into tiles.

        Raises:
            EosError: it has as many visual tokens as none of this model's.
        """
        side, tokens = self.grid(config)[0], 1
        if cut:
            points, tile = tuple(map(tuple, config.image_grid_pinpoints)), config.vision_config.image_size
            rows, columns = _shown(height, width, side, points, tile, self.largest(config))
            tokens = rows * (columns + 1)
        return self._of_tokens(config, side * side + tokens)

    def _of_tokens(self, config: Any, tokens: int) -> MediaItem:
        points, tile = tuple(map(tuple, config.image_grid_pinpoints)), config.vision_config.image_size
        return _piece(tokens, self.grid(config)[0], points, tile, self.largest(config))

    def tiled(self, call: Call, images: int) -> list[bool]:
        """Which of the pictures are cut into tiles."""
        return [True] * images


class LlavaNext(AnyRes):
    """LLaVA-NeXT (1.6)."""

    name = "LLaVA-NeXT"
    model_types = ("llava_next",)


class LlavaOnevision(AnyRes):
    """LLaVA-OneVision: also several pictures (none is cut into tiles then) and films."""

    name = "LLaVA-OneVision"
    model_types = ("llava_onevision",)

    def largest(self, config: Any) -> int | None:
        """From the name of the setting, as the model does."""
        return int(config.vision_aspect_ratio.removeprefix("anyres_max_"))

    def tiled(self, call: Call, images: int) -> list[bool]:
        """Pictures that are alone in their prompt."""
        numbers = call.get("batch_num_images")
        if numbers is None:
            return [True] * images
        return [count == 1 for count in numbers.tolist() for _ in range(count)]

    def media_items(self, parts: Parts, call: Call, captured: Sequence[Any]) -> Mapping[str, Sequence[MediaItem]]:
        """A film's frames are units; behind them stands one end of line."""
        items = dict(super().media_items(parts, call, captured))
        films, half = call.get("pixel_values_videos"), math.ceil(parts.grid[0] / 2)
        shape = None if films is None else (len(films), films.shape[1])
        pooled = encoded(call, "video")
        if pooled is not None:
            shape = (len(pooled), (pooled.shape[1] - 1) // half**2)
        if shape is not None:
            items["video"] = [MediaItem(((half, half),) * shape[1], rest=1)] * shape[0]
        return items


@lru_cache(maxsize=256)
def _piece(tokens: int, side: int, points: tuple[Any, ...], tile: int, largest: int | None) -> MediaItem:
    """The units of a picture of so many visual tokens.

    Raises:
        EosError: no picture of this model has so many.
    """
    left = tokens - side * side
    if left == 1:
        return MediaItem(((side, side),), rest=1)
    options = set()
    for height, width in points:
        full = (height // tile * side, width // tile * side)
        for axis in (0, 1):
            for cut in range(0, full[axis], 2):
                rows, columns = (full[0] - cut, full[1]) if axis == 0 else (full[0], full[1] - cut)
                rows, columns = _at_most(rows, columns, side, largest)
                if rows * (columns + 1) == left:
                    options.add((rows, columns + 1))
    if not options:
        raise EosError(f"a picture of {tokens} visual tokens is none of the sizes of this model's image_grid_pinpoints")
    # two shapes may have equally many: then the squarest, always the same one
    return MediaItem(((side, side), min(options, key=lambda grid: (abs(grid[0] - grid[1]), grid))))


@lru_cache(maxsize=256)
def _shown(
    height: int, width: int, side: int, points: tuple[Any, ...], tile: int, largest: int | None
) -> tuple[int, int]:
    """Rows and columns of what the tiles of a picture show, its padding cut off."""
    from transformers.image_processing_utils import select_best_resolution

    high, wide = select_best_resolution((height, width), [list(point) for point in points])
    rows, columns = high // tile * side, wide // tile * side
    if width / height > columns / rows:
        rows -= 2 * ((rows - int(round(height * columns / width, 7))) // 2)
    else:
        columns -= 2 * ((columns - int(round(width * rows / height, 7))) // 2)
    return _at_most(rows, columns, side, largest)


def _at_most(rows: int, columns: int, side: int, largest: int | None) -> tuple[int, int]:
    if largest is None:
        return rows, columns
    ratio = math.sqrt(rows * columns / (largest * side**2))
    return (int(rows // ratio), int(columns // ratio)) if ratio > 1.1 else (rows, columns)
