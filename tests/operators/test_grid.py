"""Windows of a grid."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from eos_platform.common.errors import EosError
from eos_platform.operators.grid import layout, overlap_layout


@pytest.mark.parametrize("grid", [(1, 1), (1, 7), (7, 1), (4, 6), (5, 7), (24, 24)])
def test_every_size_covers_the_grid_with_windows_that_hold_their_anchor(grid):
    for size in range(1, grid[0] * grid[1] + 1):
        window, anchor = map(np.array, layout(grid, size))
        assert np.array_equal(np.unique(window), np.arange(size))
        assert np.array_equal(window[anchor], np.arange(size))
        assert (np.diff(anchor) > 0).all()
        counts = np.bincount(window)
        assert counts.max() <= 6 * counts.min()
        for w in range(size) if size < 40 else ():
            rows, columns = np.divmod(np.flatnonzero(window == w), grid[1])
            assert counts[w] == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)  # a rectangle


@pytest.mark.parametrize(
    ("size", "shape"),
    [(288, (1, 2)), (192, (1, 3)), (144, (2, 2)), (64, (3, 3)), (36, (4, 4)), (16, (6, 6)), (1, (24, 24))],
)
def test_equal_windows_where_they_exist(size, shape):
    window = np.array(layout((24, 24), size).window).reshape(24, 24)
    down, across = shape
    assert (window[:down, :across] == 0).all()
    assert (window == 0).sum() == down * across
    assert set(np.bincount(window.ravel())) == {down * across}


@pytest.mark.parametrize("size", [0, 25])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(EosError, match=f"a grid of 4x6 tokens cannot be cut into {size} windows"):
        layout((4, 6), size)


@pytest.mark.parametrize("grid", [(1, 1), (1, 7), (4, 6), (5, 7), (24, 24)])
def test_overlapping_windows_are_those_of_adaptive_pooling(grid):
    values = torch.rand(grid[0] * grid[1], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for rows in range(1, grid[0] + 1):
        for columns in range(1, grid[1] + 1):
            cells, anchor = overlap_layout(grid, (rows, columns))
            pooled = F.adaptive_avg_pool2d(values.view(1, *grid), (rows, columns)).flatten()
            torch.testing.assert_close(torch.stack([values[list(window)].mean() for window in cells]), pooled)
            assert (np.diff(anchor) > 0).all()
            assert all(middle in window for middle, window in zip(anchor, cells, strict=True))


def test_a_window_of_each_cell_leaves_the_grid_as_it_is():
    assert overlap_layout((3, 5), 15).anchor == tuple(range(15))


@pytest.mark.parametrize(
    ("grid", "size", "shape"),
    [
        ((24, 24), 128, (16, 8)),
        ((24, 24), 64, (8, 8)),
        ((24, 24), 23, (23, 1)),
        ((6, 8), 12, (3, 4)),
        ((4, 6), 5, (1, 5)),
    ],
)
def test_the_squarest_overlapping_windows_are_taken(grid, size, shape):
    assert overlap_layout(grid, size) == overlap_layout(grid, shape)


def test_overlapping_windows_where_equal_squares_exist_are_those():
    for size in (1, 16, 36, 64, 144, 576):
        assert overlap_layout((24, 24), size).anchor == layout((24, 24), size).anchor


@pytest.mark.parametrize("size", [0, 7, 23, 25, (5, 1), (1, 7), (0, 2)])
def test_shapes_the_grid_cannot_be_pooled_to_are_refused(size):
    with pytest.raises(EosError, match="a grid of 4x6 tokens cannot be pooled to"):
        overlap_layout((4, 6), size)
