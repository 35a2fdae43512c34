"""Textured grounds: crops of a few large grey tiles, tinted and lit at random."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image

from eos_platform.tasks.scenes_v2.catalogue import GROUNDS

TILES, SIDE = 4, 704
TINTS = {
    "grass": (70, 120, 50),
    "water": (60, 110, 160),
    "sand": (200, 180, 130),
    "brick": (150, 80, 60),
    "wood": (140, 95, 55),
    "stone": (125, 125, 130),
}
CLOTHS = ((150, 120, 160), (110, 140, 130), (170, 150, 120), (120, 130, 165), (160, 130, 130))  # any cloth, any tint


def ground(kind: str, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A piece of ground of (width, height)."""
    number, x, y, cloth = rng.integers(0, (TILES, SIDE - size[0] + 1, SIDE - size[1] + 1, len(CLOTHS)))
    crop = _tile(kind, int(number)).crop((int(x), int(y), int(x) + size[0], int(y) + size[1]))
    tint = np.asarray(TINTS.get(kind, CLOTHS[cloth])) * rng.uniform(0.85, 1.12) + rng.uniform(-10, 10, 3)
    shades = np.clip(tint * (1 + 0.8 * (np.arange(256)[:, None] / 127.5 - 1)), 0, 255).astype(np.uint8)
    return Image.merge("RGB", [crop.point(list(channel)) for channel in shades.T.tolist()])


@lru_cache(maxsize=TILES * len(GROUNDS))
def _tile(kind: str, number: int) -> Image.Image:
    """A large grey tile of one ground; 127.5 is neither lit nor shaded."""
    rng = np.random.default_rng([2, GROUNDS.index(kind), number])
    fine = rng.random((SIDE, SIDE), np.float32) - 0.5
    coarse = _smooth(24, rng)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    period = 4 + number % 3
    if kind == "grass":
        value = 0.22 * np.sin(x * 1.7 + 3 * coarse) * np.sin(y * 0.35 + 6 * coarse) + 0.35 * fine
    elif kind == "water":
        value = 0.35 * np.sin(y * 0.3 + 3 * coarse + 0.8 * np.sin(x * 0.07)) + 0.08 * fine
    elif kind == "sand":
        value = 0.45 * fine + 0.15 * coarse
    elif kind == "brick":
        mortar = ((y % 12) < 2) | (((x + 12 * (np.floor(y / 12) % 2)) % 24) < 2)
        value = np.where(mortar, 0.45, -0.05) + 0.15 * fine + 0.1 * coarse
    elif kind == "wood":
        value = 0.3 * np.sin(x * 0.45 + 5 * coarse) + 0.12 * fine
    elif kind == "stone":
        value = 0.5 * coarse + 0.5 * _smooth(8, rng) + 0.1 * fine
    else:
        half = period // 2 if period % 2 == 0 else period / 2
        if kind == "checks":
            on = (np.floor(x / half) + np.floor(y / half)) % 2 < 1
        elif kind == "stripes":
            on = (x % period) < half
        elif kind == "dots":
            on = ((x % period) < 2) & ((y % period) < 2)
        elif kind == "zigzag":
            on = (y + np.abs(x % (2 * period) - period)) % period < half
        else:  # weave: short strokes, across and down by turns
            down = (np.floor(x / (2 * period)) + np.floor(y / (2 * period))) % 2 < 1
            on = np.where(down, x % period, y % period) < half
        value = np.where(on, 0.3, -0.3) + 0.08 * fine + 0.08 * coarse
    return Image.fromarray(np.clip(127.5 * (1 + value), 0, 255).astype(np.uint8))


def _smooth(cell: int, rng: np.random.Generator) -> np.ndarray:
    """Noise in [-.5, .5] that varies over about ``cell`` pixels."""
    cells = SIDE // cell + 1
    small = Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8))
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32) / 255 - 0.5
