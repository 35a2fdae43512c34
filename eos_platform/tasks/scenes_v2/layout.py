"""From (split, index, size) to a scene: the picture is cut into panels, and each is filled.

Splits share no scene by construction: a checksum of everything a scene shows says which split it belongs to, and the
last panel is drawn anew until it is the one asked for.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Literal, get_args

from eos_platform.common.errors import EosError, unknown
from eos_platform.tasks.scenes_v2 import contents
from eos_platform.tasks.scenes_v2.draws import Draws
from eos_platform.tasks.scenes_v2.scene import Box, Panel, Scene

Split = Literal["train", "search", "validation", "heldout"]
SPLITS: tuple[Split, ...] = get_args(Split)
VERSION = 2  # part of every seed: raise it when a change alters the pictures
SMALLEST, LARGEST = 112, 672
ROOM = {"objects": (56, 56), "note": (88, 60), "text": (84, 36), "table": (100, 58), "chart": (92, 76)}
Size = int | tuple[int, int] | Sequence[tuple[int, int]]


def size_of(size: Size, index: int) -> tuple[int, int]:
    """Width and height of picture ``index``: the one size there is, or the sizes in turn.

    Raises:
        EosError: a side that is not 112 to 672 pixels.
    """
    if isinstance(size, int):
        chosen = (size, size)
    elif isinstance(size[0], int):
        chosen = (size[0], int(size[1]))  # type: ignore[arg-type]
    else:
        chosen = size[index % len(size)]  # type: ignore[assignment]
    if not all(SMALLEST <= side <= LARGEST for side in chosen):
        raise EosError(f"a picture of {chosen[0]} x {chosen[1]} pixels: sides are {SMALLEST} to {LARGEST}")
    return chosen


def split_of(panels: Sequence[Panel]) -> Split:
    """The one split whose scenes may show this: 5 of 8 train, 1 of 8 each for the others."""
    number = zlib.crc32(repr(panels).encode()) % 8
    return {0: "heldout", 1: "validation", 2: "search"}.get(number, "train")  # type: ignore[return-value]


def make_scene(split: Split, index: int, size: Size = 336) -> Scene:
    """Scene number ``index`` of ``split``.

    Args:
        split: ``train``, ``search``, ``validation`` or ``heldout``.
        index: from 0, without end.
        size: pixels a side, (width, height), or several of these, taken in turn.

    Raises:
        EosError: unknown split, or a size there are no pictures of.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    width, height = size_of(size, index)
    draws = Draws(VERSION, SPLITS.index(split), index, width, height)
    most = max(1, min(5, width * height // 13000))
    cells = _cut(draws, (0, 0, width, height), draws.between(1, most))
    kinds = _kinds(draws, cells)
    panels = [_fill(draws, kind, cell) for kind, cell in zip(kinds[:-1], cells[:-1], strict=True)]
    while True:
        filled = (*panels, _fill(draws, kinds[-1], cells[-1]))
        if split_of(filled) == split:
            return Scene(width, height, filled, draws.below(2**31))


def _cut(draws: Draws, box: Box, count: int) -> list[Box]:
    """``count`` boxes that fill the box, by cuts across the longer side, or either where they are much alike."""
    if count == 1:
        return [box]
    left, top, right, bottom = box
    first = count // 2 if draws.chance(0.5) else count - count // 2
    share = min(0.68, max(0.32, first / count + 0.24 * (draws.random() - 0.5)))
    wide, high = right - left, bottom - top
    if wide > 1.3 * high or (high <= 1.3 * wide and draws.chance(0.4)):
        cut = left + int(share * (right - left))
        parts = (left, top, cut, bottom), (cut, top, right, bottom)
    else:
        cut = top + int(share * (bottom - top))
        parts = (left, top, right, cut), (left, cut, right, bottom)
    return _cut(draws, parts[0], first) + _cut(draws, parts[1], count - first)


def _kinds(draws: Draws, cells: list[Box]) -> list[str]:
    """What each panel is: all but objects at most once, so that questions can say 'the table'."""
    unused = {kind for kind in ROOM if kind != "objects"}
    kinds = [""] * len(cells)
    order = draws.shuffled(range(len(cells)))
    for number, cell in enumerate(order):
        wide, high = cells[cell][2] - cells[cell][0], cells[cell][3] - cells[cell][1]
        fits = sorted(k for k in unused if ROOM[k][0] <= wide and ROOM[k][1] <= high)
        if not fits or draws.chance((0.4, 0.5, 0.7)[min(2, len(cells) - 1)] if number == 0 else 0.15):
            kinds[cell] = "objects"
        else:
            kinds[cell] = draws.pick(fits)
            unused.discard(kinds[cell])
    return kinds


def _fill(draws: Draws, kind: str, box: Box) -> Panel:
    if kind == "objects":
        return contents.objects(draws, box)
    if kind == "table":
        return contents.table(draws, box)
    if kind == "chart":
        return contents.chart(draws, box)
    return contents.page(draws, box, kind)
