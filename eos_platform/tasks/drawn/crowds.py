"""``crowds``: dozens of small marks; how many of a color, which color has most, are there more of one than of another.

Nothing but counting: every mark matters, and none of them is large. Nothing lies on anything else.
"""

from __future__ import annotations

import random

from PIL import Image, ImageDraw

from eos_platform.tasks.drawn.base import Drawn

COLORS = {"red": "#c62828", "green": "#2e7d32", "blue": "#1565c0", "yellow": "#f9a825", "black": "#212121"}
GRID, SMALL, MOST = 9, 0.32, 9  # cells a side; radius of a mark in cells; marks of one color
GROUNDS = ("#eceff1", "#fff8e1", "#e8eaf6", "#d7ccc8")
Scene = tuple[dict[int, str], str]  # color by cell, ground


class Crowds(Drawn):
    """Up to nine marks of each of three colors."""

    name = "crowds"
    groups: tuple[str, ...] = ("count", "most", "more")

    def scene(self, rng: random.Random) -> Scene:
        """Marks in cells of a grid, none of which holds two."""
        colors = rng.sample(list(COLORS), 3)
        counts = rng.sample(range(MOST + 1), 3)  # no two alike, so that one is most frequent
        cells = rng.sample(range(GRID * GRID), sum(counts))
        marks = [color for color, count in zip(colors, counts, strict=True) for _ in range(count)]
        return dict(zip(cells, marks, strict=True)), rng.choice(GROUNDS)

    def drawn(self, scene: Scene, rng: random.Random) -> Image.Image:
        """Marks somewhere in their cells."""
        marks, ground = scene
        picture = Image.new("RGB", (self.side, self.side), ground)
        pen, cell = ImageDraw.Draw(picture), self.side / GRID
        for place, color in marks.items():
            radius = cell * SMALL * rng.uniform(0.8, 1.0)
            room = cell / 2 - radius
            x = (place % GRID + 0.5) * cell + rng.uniform(-room, room)
            y = (place // GRID + 0.5) * cell + rng.uniform(-room, room)
            box = (x - radius, y - radius, x + radius, y + radius)
            (pen.rectangle if rng.random() < 0.5 else pen.ellipse)(box, fill=COLORS[color])
        return picture

    def questions(self, scene: Scene, key: str) -> list[tuple[str, str, str]]:
        """How many of a color, which color is most frequent, and whether one is more frequent than another."""
        rng, marks = random.Random(f"{key}-asked"), list(scene[0].values())
        first, second = rng.sample(list(COLORS), 2)
        if rng.random() < 0.7 and len(set(marks)) > 1:  # else often none of either
            first, second = rng.sample(sorted(set(marks)), 2)
        counts = {color: marks.count(color) for color in COLORS}
        return [
            ("count", f"how many {first} marks are there?", str(counts[first])),
            ("most", "which color has the most marks?", max(counts, key=lambda color: counts[color])),
            (
                "more",
                f"are there more {first} marks than {second} marks?",
                "yes" if counts[first] > counts[second] else "no",
            ),
        ]
