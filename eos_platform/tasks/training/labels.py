"""What lies under each patch of a scene: targets of the auxiliary loss that teaches the vision tower to see.

Without it, answers alone taught too slowly; it fades to zero before training ends.
"""

from __future__ import annotations

import numpy as np

from eos_platform.tasks.scenes import COLORS, GROUNDS, LETTERS, PATCH, PATTERNS, SHAPES, Scene

# attribute: number of classes. 0 means "not there" for all but kind, ground, row and column.
ATTRIBUTES = {
    "kind": 4,  # ground, object, sign, chart
    "color": 1 + len(COLORS),
    "shape": 1 + len(SHAPES),
    "pattern": 1 + len(PATTERNS),
    "size": 3,
    "letter": 1 + len(LETTERS),
    "level": 8,
    "ground": len(GROUNDS),
    "row": 24,
    "column": 24,
}
WHOLE = len(COLORS) + len(SHAPES)  # what the class token is asked: which colours and shapes are there


def patch_labels(scene: Scene) -> np.ndarray:
    """(grid * grid, attributes) uint8, columns in the order of ATTRIBUTES."""
    grid = scene.config.grid
    column = {name: k for k, name in enumerate(ATTRIBUTES)}
    labels = np.zeros((grid, grid, len(ATTRIBUTES)), np.uint8)
    rows, columns = np.mgrid[0:grid, 0:grid]
    labels[..., column["row"]], labels[..., column["column"]] = rows, columns
    y, x = rows * PATCH + PATCH / 2, columns * PATCH + PATCH / 2
    along = x if scene.upright else y
    first, second = (GROUNDS.index(kind) for kind in scene.grounds)
    labels[..., column["ground"]] = np.where(along < int(scene.split_at * scene.config.size), first, second)

    left, top, right, bottom = scene.chart_box
    inside = (x > left) & (x < right) & (y > top) & (y < bottom)
    labels[inside, column["kind"]] = 3
    pitch = (right - left - 8) // len(scene.bars)
    for number, (color, level) in enumerate(scene.bars):
        start = left + 5 + number * pitch
        under = inside & (x > start - 5) & (x < start + pitch) & (number == _nearest(x, left, pitch, len(scene.bars)))
        labels[under, column["color"]] = 1 + COLORS.index(color)
        labels[under, column["level"]] = level

    left, top, right, bottom = scene.sign_box
    inside = (x > left) & (x < right) & (y > top) & (y < bottom)
    labels[inside, column["kind"]] = 2
    width = (right - left - 8) / len(scene.sign)
    for number, letter in enumerate(scene.sign):
        under = inside & (np.clip((x - left - 4) // width, 0, len(scene.sign) - 1) == number)
        labels[under, column["letter"]] = 1 + LETTERS.index(letter)

    for thing in scene.things:
        reach = max(thing.radius * 0.9, PATCH * 0.6)
        under = (x - thing.x) ** 2 + (y - thing.y) ** 2 < reach**2
        labels[under, column["kind"]] = 1
        labels[under, column["color"]] = 1 + COLORS.index(thing.color)
        labels[under, column["shape"]] = 1 + SHAPES.index(thing.shape)
        labels[under, column["pattern"]] = 1 + PATTERNS.index(thing.pattern)
        labels[under, column["size"]] = 1 + ("small", "large").index(thing.size)
    return labels.reshape(grid * grid, -1)


def _nearest(x: np.ndarray, left: int, pitch: int, bars: int) -> np.ndarray:
    """The bar whose column a pixel belongs to."""
    return np.clip((x - left - 5) // pitch, 0, bars - 1)


def whole_labels(scene: Scene) -> np.ndarray:
    """(WHOLE,) float32: 1 for each colour and shape that some object has."""
    return np.asarray(
        [any(t.color == c for t in scene.things) for c in COLORS]
        + [any(t.shape == s for t in scene.things) for s in SHAPES],
        np.float32,
    )
