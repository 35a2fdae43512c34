"""The geometry of ``grid`` as tensors."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from eos_platform.operators.grid import Grid, cells_of, layout, overlap_layout

# Tensors below are cached: a copy from the host at every call would stall the device. They are made outside inference
# mode, since a tensor born in it cannot take part in a later backward pass.


@lru_cache(maxsize=256)
def window_table(grid: Grid, size: int, device: torch.device) -> Tensor:
    """Window of each raster index (rows * columns,), long."""
    with torch.inference_mode(False):
        return torch.tensor(layout(grid, size).window, device=device)


@lru_cache(maxsize=256)
def anchor_mask(grid: Grid, size: int, device: torch.device) -> Tensor:
    """Which raster indices are anchors of ``size`` windows (rows * columns,), bool."""
    with torch.inference_mode(False):
        mask = torch.zeros(cells_of(grid), dtype=torch.bool)
        mask[list(layout(grid, size).anchor)] = True
        return mask.to(device)


@lru_cache(maxsize=16)
def anchor_masks(grid: Grid, device: torch.device) -> Tensor:
    """``anchor_mask`` of every size from 0 (none) up, stacked: a count that lives on the device can look itself up."""
    cells = cells_of(grid)
    with torch.inference_mode(False):
        masks = [torch.zeros(cells, dtype=torch.bool)]
        masks += [anchor_mask(grid, size, torch.device("cpu")) for size in range(1, cells + 1)]
        return torch.stack(masks).to(device)


@lru_cache(maxsize=256)
def overlap_table(grid: tuple[int, int], size: int, device: torch.device) -> Tensor:
    """Which raster indices each window of ``overlap_layout`` covers (size, rows * columns), bool."""
    with torch.inference_mode(False):
        table = torch.zeros(size, grid[0] * grid[1], dtype=torch.bool)
        for window, cells in enumerate(overlap_layout(grid, size).cells):
            table[window, list(cells)] = True
        return table.to(device)


@lru_cache(maxsize=256)
def overlap_anchors(grid: tuple[int, int], size: int, device: torch.device) -> Tensor:
    """The middles of the windows of ``overlap_layout`` (size,), long."""
    with torch.inference_mode(False):
        return torch.tensor(overlap_layout(grid, size).anchor, device=device)
