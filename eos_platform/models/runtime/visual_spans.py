"""Visual tokens as units: an image, a tile of one, a frame of a film; each a grid that an operator reduces by itself.

Which units a prompt holds is known on the host, so that every shape after it is static. Units of one grid, wherever
they stand, are reduced together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from eos_platform.common.errors import EosError

Grid = tuple[int, int]


class MediaItem(NamedTuple):
    """Placeholders that belong together: units one after another, and what stands behind them in no grid.

    The rest (the end-of-line of a whole picture, say) is never reduced.
    """

    grids: tuple[Grid, ...]
    rest: int = 0

    @property
    def tokens(self) -> int:
        """Placeholders in the prompt."""
        return sum(rows * columns for rows, columns in self.grids) + self.rest


class Unit(NamedTuple):
    """Where a unit stands."""

    row: int  # prompt
    start: int  # place among the prompt's placeholders
    image: int  # number of its piece, over the batch


@dataclass(frozen=True)
class Units:
    """The units of a batch of prompts.

    Attributes:
        prompts: how many.
        groups: units by grid.
        placeholders: how many each prompt holds.
    """

    prompts: int
    groups: tuple[tuple[Grid, tuple[Unit, ...]], ...]
    placeholders: tuple[int, ...]

    @property
    def plain(self) -> bool:
        """Whether every prompt holds one unit, all of one grid, and nothing else."""
        if len(self.groups) != 1:
            return False
        grid, units = self.groups[0]
        whole = all(count == grid[0] * grid[1] for count in self.placeholders)
        return whole and tuple(unit.row for unit in units) == tuple(range(self.prompts))


def share_out(items: Sequence[MediaItem], counts: Sequence[int]) -> Units:
    """The units of prompts that hold so many placeholders each.

    Args:
        items: in order; of prompts that several beams share, once or as often as there are beams.
        counts: placeholders of each prompt.

    Raises:
        EosError: the images are not those of the prompts.
    """
    prompts, total, there = len(counts), sum(counts), sum(piece.tokens for piece in items)
    beams = total // there if there else 1
    if there and (total != there * beams or prompts % max(beams, 1)):
        raise EosError(f"{total} places for visual tokens in the prompts, and {there} visual tokens came")
    by_grid: dict[Grid, list[Unit]] = {}
    number = 0
    rows: list[list[tuple[int, MediaItem]]] = []
    for row in range(prompts):
        if row % beams:
            held = rows[-1]
        else:
            held, left = [], counts[row]
            while left > 0:
                if number == len(items) or items[number].tokens > left:
                    raise EosError(f"the images do not fill the {counts[row]} places of prompt {row + 1}")
                held.append((number, items[number]))
                left -= items[number].tokens
                number += 1
        rows.append(held)
        start = 0
        for image, piece in held:
            at = start
            for grid in piece.grids:
                by_grid.setdefault(grid, []).append(Unit(row, at, image))
                at += grid[0] * grid[1]
            start += piece.tokens
    return Units(prompts, tuple((grid, tuple(units)) for grid, units in by_grid.items()), tuple(counts))


@lru_cache(maxsize=256)
def numbers(values: tuple[int, ...], device: torch.device) -> Tensor:
    """A tensor of whole numbers, copied to the device once: later calls must not wait for it."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device)
