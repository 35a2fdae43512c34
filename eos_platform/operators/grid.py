"""Static geometry: how a grid of visual tokens is cut into windows, and the token in the middle of each.

A grid has rows and columns, or frames before these: a film's tokens, frame by frame.

Plain numbers, so that an operator's file can be read without loading torch; ``grid_tables`` has them as tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from eos_platform.common.errors import EosError

Grid = tuple[int, int] | tuple[int, int, int]


def cells_of(grid: Grid) -> int:
    """Tokens of a grid."""
    return math.prod(grid)


def frames_of(grid: Grid) -> int:
    """Frames of a grid; of a picture, one."""
    return grid[0] if len(grid) == 3 else 1


def stacked(grid: Grid) -> tuple[int, int]:
    """Rows and columns, of a film the rows of all its frames."""
    return (grid[0] * grid[1], grid[2]) if len(grid) == 3 else grid


def as_films(units: Sequence[tuple[Grid, int]]) -> tuple[tuple[Grid, int], ...]:
    """Grids and how many there are of each, those of one grid joined: the frames of a film."""
    return tuple((grid, many) if len(grid) == 3 else ((many, *grid), 1) for grid, many in units)


class Layout(NamedTuple):
    """Windows numbered in raster order of their anchors."""

    window: tuple[int, ...]  # of each grid cell, in raster order
    anchor: tuple[int, ...]  # raster index of each window's middle cell, ascending


@lru_cache(maxsize=2048)
def layout(grid: Grid, size: int) -> Layout:
    """Cut ``grid`` (rows, columns) into ``size`` windows, or a film (frames, rows, columns) into blocks.

    Equal windows where some factoring of ``size`` divides rows and columns (the squarest such, wide before tall);
    otherwise bands of rows, each cut into nearly equal columns. Any size from 1 to the number of cells works. A film is
    cut into runs of frames first, each of which is cut as one frame is; of the ways to do so the one with the most
    nearly cubic blocks, equal ones where there are any.

    Raises:
        EosError: more windows than cells, or none.
    """
    if len(grid) == 3:
        return _blocks(*grid, size)
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


def _blocks(frames: int, rows: int, columns: int, size: int) -> Layout:
    """Of a film."""
    one = rows * columns
    if not 1 <= size <= frames * one:
        raise EosError(f"a film of {frames}x{rows}x{columns} tokens cannot be cut into {size} blocks")
    # so many runs of frames; those of one film differ by one block at most
    possible = range(-(-size // one), min(frames, size) + 1)

    def awkward(runs: int) -> tuple[bool, float, int]:
        long, side = frames / runs, math.sqrt(one * runs / size)
        return bool(frames % runs or size % runs), abs(math.log(long / side)), runs

    runs = min(possible, key=awkward)
    window, anchor = list[int](), list[int]()
    for run in range(runs):
        first, after = run * frames // runs, (run + 1) * frames // runs
        flat = layout((rows, columns), (run + 1) * size // runs - run * size // runs)
        window += [len(anchor) + number for number in flat.window] * (after - first)
        anchor += [(first + after - 1) // 2 * one + cell for cell in flat.anchor]
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
