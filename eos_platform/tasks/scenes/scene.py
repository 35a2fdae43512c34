"""Procedural scenes: what is in a picture, before it is drawn or asked about.

A scene is a ground of two textures, objects (colour, shape, pattern, size), a sign with letters, a bar chart and
clutter. Everything follows from (split, index): the same pair gives the same scene on every machine. Splits share no
scene by construction: the letters on the sign decide which split a scene may belong to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from eos_platform.common.errors import unknown

Split = Literal["train", "search", "validation", "heldout"]
SPLITS: tuple[Split, ...] = get_args(Split)
COLORS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
PATTERNS = ("plain", "striped", "dotted")
GROUNDS = ("grass", "water", "sand", "brick", "wood", "stone")
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"  # no I, no O: they look like digits
SCENE_VERSION = 1  # part of every seed: raise it when a change alters the pictures
PATCH = 14  # pixels a side of one visual token


@dataclass(frozen=True)
class SceneConfig:
    """How much a picture holds. Lengths are in pixels; the picture is ``grid * PATCH`` a side."""

    grid: int = 24
    objects: tuple[int, int] = (4, 7)  # inclusive
    small: tuple[int, int] = (14, 17)  # radius
    large: tuple[int, int] = (24, 30)
    letters: int = 3
    letter_size: int = 30
    bars: tuple[int, int] = (3, 4)
    levels: int = 6
    level_height: int = 12
    clutter: tuple[int, int] = (12, 28)

    @property
    def size(self) -> int:
        """Pixels a side."""
        return self.grid * PATCH


CONFIGS = {
    24: SceneConfig(),
    12: SceneConfig(
        grid=12,
        objects=(3, 4),
        small=(10, 11),
        large=(17, 20),
        letters=2,
        letter_size=20,
        bars=(2, 3),
        levels=4,
        level_height=12,
        clutter=(5, 12),
    ),
}


@dataclass(frozen=True)
class Thing:
    """One object. Centre and radius in pixels, angle in degrees."""

    color: str
    shape: str
    pattern: str
    size: str  # small | large
    x: int
    y: int
    radius: int
    angle: float


@dataclass(frozen=True)
class Scene:
    """A whole picture as data. Boxes are (left, top, right, bottom) in pixels."""

    config: SceneConfig
    grounds: tuple[str, str]  # left and right, or top and bottom
    split_at: float  # where the second ground begins, as a fraction
    upright: bool  # the border between the grounds is vertical
    things: tuple[Thing, ...]
    sign: str
    sign_box: tuple[int, int, int, int]
    bars: tuple[tuple[str, int], ...]  # colour, level
    chart_box: tuple[int, int, int, int]
    clutter: int
    seed: int  # of the drawing's own noise


def split_of_sign(sign: str) -> Split:
    """The one split whose scenes may carry this sign: 5 of 8 signs train, 1 of 8 each for the others."""
    code = 0
    for letter in sign:
        code = code * len(LETTERS) + LETTERS.index(letter)
    return {0: "heldout", 1: "validation", 2: "search"}.get((code * 2654435761 >> 7) % 8, "train")  # type: ignore[return-value]


def make_scene(split: Split, index: int, config: SceneConfig) -> Scene:
    """Scene number ``index`` of ``split``.

    Raises:
        EosError: unknown split.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    rng = np.random.default_rng([SCENE_VERSION, SPLITS.index(split), index, config.grid])
    while split_of_sign(sign := "".join(rng.choice(list(LETTERS), config.letters))) != split:
        pass
    boxes: list[tuple[int, int, int, int]] = []
    n_bars = int(rng.integers(config.bars[0], config.bars[1] + 1))
    chart = _place(rng, config, 16 * config.bars[1] + 14, config.levels * config.level_height + 10, boxes)
    sign_box = _place(
        rng, config, int(config.letters * config.letter_size * 0.86) + 12, int(config.letter_size * 1.25) + 4, boxes
    )
    if chart is None or sign_box is None:
        raise AssertionError("an empty picture has room for a chart and a sign")
    bar_colors = rng.permutation(len(COLORS))[:n_bars]
    bars = tuple((COLORS[c], int(rng.integers(1, config.levels + 1))) for c in bar_colors)
    grounds = rng.permutation(len(GROUNDS))[:2]
    return Scene(
        config=config,
        grounds=(GROUNDS[grounds[0]], GROUNDS[grounds[1]]),
        split_at=float(rng.uniform(0.35, 0.65)),
        upright=bool(rng.integers(2)),
        things=_things(rng, config, boxes),
        sign=sign,
        sign_box=sign_box,
        bars=bars,
        chart_box=chart,
        clutter=int(rng.integers(config.clutter[0], config.clutter[1] + 1)),
        seed=int(rng.integers(2**31)),
    )


def _things(rng: np.random.Generator, config: SceneConfig, boxes: list[tuple[int, int, int, int]]) -> tuple[Thing, ...]:
    """Objects drawn from a few colours and shapes, so that look-alikes are common and questions need both words."""
    colors = rng.permutation(len(COLORS))[: int(rng.integers(2, 5))]
    shapes = rng.permutation(len(SHAPES))[: int(rng.integers(2, 4))]
    things = []
    for _ in range(int(rng.integers(config.objects[0], config.objects[1] + 1))):
        size = ("small", "large")[int(rng.integers(2))]
        low, high = config.small if size == "small" else config.large
        radius = int(rng.integers(low, high + 1))
        box = _place(rng, config, 2 * radius + 4, 2 * radius + 4, boxes)
        if box is None:
            continue
        things.append(
            Thing(
                color=COLORS[int(rng.choice(colors))],
                shape=SHAPES[int(rng.choice(shapes))],
                pattern=PATTERNS[int(rng.integers(len(PATTERNS)))],
                size=size,
                x=(box[0] + box[2]) // 2,
                y=(box[1] + box[3]) // 2,
                radius=radius,
                angle=float(rng.uniform(-12, 12)),
            )
        )
    return tuple(things)


def _place(
    rng: np.random.Generator, config: SceneConfig, width: int, height: int, boxes: list[tuple[int, int, int, int]]
) -> tuple[int, int, int, int] | None:
    """A free box, added to ``boxes``; None when forty tries found no room."""
    for _ in range(40):
        x = int(rng.integers(2, config.size - width - 2))
        y = int(rng.integers(2, config.size - height - 2))
        box = (x, y, x + width, y + height)
        if all(box[2] <= b[0] or b[2] <= box[0] or box[3] <= b[1] or b[3] <= box[1] for b in boxes):
            boxes.append(box)
            return box
    return None
