"""Static geometry: how a grid of visual tokens is cut into windows, and the token in the middle of each.

Plain numbers, so that an operator's file can be read without loading torch; ``grid_tables`` has them as tensors.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from eos_platform.common.errors import EosError


class Layout(NamedTuple):
    """Windows numbered in raster order of their anchors."""

    window: tuple[int, ...]  # of each grid cell, in raster order
    anchor: tuple[int, ...]  # raster index of each window's middle cell, ascending


@lru_cache(maxsize=2048)
def layout(grid: tuple[int, int], size: int) -> Layout:
    """Cut ``grid`` (rows, columns) into ``size`` windows.

    Equal windows where some factoring of ``size`` divides rows and columns (the squarest such, wide before tall);
    otherwise bands of rows, each cut into nearly equal columns. Any size from 1 to the number of cells works.

    Raises:
        EosError: more windows than cells, or none.
    """
    rows, columns = grid
    if not 1 <= size <= rows * columns:
        raise EosError(f"a grid of {rows}x{columns} tokens cannot be cut into {size} windows")
    bands = _bands(rows, columns, size)
    window = [0] * (rows * columns)
    anchor: list[int] = []
    for band in range(bands):
        top, bottom = band * rows // bands, (band + 1) * rows // bands
        across = (band + 1) * size // bands - band * size // bands
        for part in range(across):
            left, right = part * columns // across, (part + 1) * columns // across
            for row in range(top, bottom):
                for column in range(left, right):
                    window[row * columns + column] = len(anchor)
            anchor.append((top + bottom - 1) // 2 * columns + (left + right - 1) // 2)
    return Layout(tuple(window), tuple(anchor))


def _bands(rows: int, columns: int, size: int) -> int:
    """Into how many bands of rows to cut."""
    equal = [n for n in range(1, rows + 1) if rows % n == 0 and size % n == 0 and columns % (size // n) == 0]
    if equal:
        return min(equal, key=lambda n: (abs(math.log(rows / n * (size // n) / columns)), -n))
    squarest = round(math.sqrt(size * rows / columns))
    return max(math.ceil(size / columns), min(squarest, rows, size))


class Overlap(NamedTuple):
    """Windows of adaptive pooling, numbered in raster order; neighbours may share cells."""

    cells: tuple[tuple[int, ...], ...]  # raster indices of the cells in each window
    anchor: tuple[int, ...]  # raster index of each window's middle cell, ascending


@lru_cache(maxsize=2048)
def overlap_layout(grid: tuple[int, int], size: int | tuple[int, int]) -> Overlap:
    """The windows that adaptive pooling of ``grid`` (rows, columns) to ``size`` outputs averages.

    Output (i, k) of h x w covers rows floor(i rows / h) to ceil((i + 1) rows / h), and columns alike.

    Args:
        size: rows and columns of the outputs, or their number, of which the shape with the squarest windows is taken
            (wide before tall).

    Raises:
        EosError: more outputs than cells along a side, or a number that no shape has.
    """
    rows, columns = grid
    if isinstance(size, int):
        shapes = [(h, size // h) for h in range(1, rows + 1) if size >= h and size % h == 0 and size // h <= columns]
        if not shapes:
            raise EosError(f"a grid of {rows}x{columns} tokens cannot be pooled to {size}: no shape has so many")
        size = min(shapes, key=lambda shape: (_slenderness(rows * shape[1], columns * shape[0]), -shape[0]))
    down, across = size
    if not (1 <= down <= rows and 1 <= across <= columns):
        raise EosError(f"a grid of {rows}x{columns} tokens cannot be pooled to {down}x{across}")
    bands, stripes = _overlapping(rows, down), _overlapping(columns, across)
    cells = tuple(tuple(r * columns + c for r in band for c in stripe) for band in bands for stripe in stripes)
    middles = tuple(_middle(band) * columns + _middle(stripe) for band in bands for stripe in stripes)
    return Overlap(cells, middles)


def _slenderness(a: int, b: int) -> float:
    return max(a, b) / min(a, b)


def _overlapping(length: int, parts: int) -> list[range]:
    return [range(i * length // parts, -(-(i + 1) * length // parts)) for i in range(parts)]


def _middle(cells: range) -> int:
    """Of an even number the lower one; never the same for two windows, as each starts and ends after the one before."""
    return (cells.start + cells.stop - 1) // 2
