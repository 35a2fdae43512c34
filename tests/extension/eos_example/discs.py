"""A task: one coloured disc a picture, drawn on demand; where it is, and which colour it has."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

from PIL import Image, ImageDraw

from eos_platform.common.errors import EosError
from eos_platform.protocols import SPLITS, Example, Split

COLOURS = {"red": "#d03020", "green": "#20a040", "blue": "#2050d0", "yellow": "#e0c020"}
QUESTIONS = {"colour": "which colour is the disc", "place": "where is the disc"}


def drawn(key: str, side: int) -> Image.Image:
    """The picture of a key."""
    _, colour, (x, y) = content(key)
    picture = Image.new("RGB", (side, side), "#808080")
    centre_x, centre_y, radius = side * (1 + 2 * x) // 4, side * (1 + 2 * y) // 4, side // 6
    box = (centre_x - radius, centre_y - radius, centre_x + radius, centre_y + radius)
    ImageDraw.Draw(picture).ellipse(box, fill=COLOURS[colour])
    return picture


def content(key: str) -> tuple[str, str, tuple[int, int]]:
    """What a key's picture shows: where, in words, which colour, and in which quarter."""
    rng = random.Random(key)
    x, y = rng.randrange(2), rng.randrange(2)
    return f"{('top', 'bottom')[y]} {('left', 'right')[x]}", rng.choice(list(COLOURS)), (x, y)


class Discs:
    """The option ``side`` is the pictures' size in pixels."""

    name, version, groups = "discs", "1", tuple(QUESTIONS)

    def __init__(self, side: int = 24) -> None:
        if not isinstance(side, int) or not 8 <= side <= 1024:
            raise EosError(f"task 'discs': side: from 8 to 1024 pixels, not {side!r}")
        self.side = side

    def examples(self, split: Split, count: int) -> Sequence[Example]:
        """Two questions a picture; a split's name is in the keys, so that splits share none."""
        if split not in SPLITS:
            raise EosError(f"task 'discs': no split '{split}'")
        asked = [(f"{split}-{number // 2}", ("colour", "place")[number % 2]) for number in range(count)]
        answers = {key: dict(zip(("place", "colour"), content(key), strict=False)) for key, _ in asked}
        return [Example(partial(drawn, k, self.side), QUESTIONS[g], answers[k][g], g, k) for k, g in asked]

    def score(self, output: str, example: Example) -> float:
        """The share of the answer's words that are written: of two, one counts half."""
        words = example.answer.split()
        return sum(word in output.split() for word in words) / len(words)
