"""Windows of a grid."""

import numpy as np
import pytest

from eos_platform.errors import EosError
from eos_platform.operators.grid import layout


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
