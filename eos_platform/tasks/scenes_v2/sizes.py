"""Of which sizes pictures are drawn for a model: those its family is made for."""

from __future__ import annotations

from typing import Any

from eos_platform.models.adapters.adapter import Adapter
from eos_platform.tasks.scenes_v2.layout import LARGEST, SMALLEST

Pixels = tuple[int, int]  # width, height
ANY: tuple[Pixels, ...] = (  # of much the same area, and some smaller
    *((336, 336), (448, 252), (252, 448), (224, 224)),
    *((336, 336), (504, 224), (224, 504), (448, 112)),
    *((336, 336), (448, 252), (252, 448), (112, 448)),
)
TILES: dict[str, tuple[Pixels, ...]] = {  # columns and rows of tiles
    "SmolVLM/Idefics3": ((2, 2), (2, 1), (2, 2), (1, 2)),
    "LLaVA-OneVision": ((2, 2), (3, 1), (2, 2), (1, 3)),
    "LLaVA-NeXT": ((2, 2), (3, 1), (2, 2), (1, 3)),
}


def sizes_for(adapter: Adapter) -> tuple[Pixels, ...]:
    """Widths and heights, to be taken in turn.

    Square ones where a family sees one size, whole tiles where it cuts pictures up (as far as pictures can be that
    large), else any.
    """
    side: Any = getattr(adapter.model.config.vision_config, "image_size", None)
    if isinstance(side, (list, tuple)):
        side = side[0]
    tiles = TILES.get(adapter.family.name)
    if side is None or (tiles is None and adapter.capabilities.varies):
        return ANY
    if tiles is None:
        square = min(LARGEST, max(SMALLEST, int(side)))
        return ((square, square),)
    drawn = [(columns * side, rows * side) for columns, rows in tiles]
    fitting = tuple(size for size in drawn if all(SMALLEST <= length <= LARGEST for length in size))
    return fitting or ANY
