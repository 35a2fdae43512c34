"""``films``: shapes that come and go, move and change color; which way, which first, which last, what color, how many.

A film is sixteen pictures; nearly all of each is what the one before showed. No question can be answered from one
picture alone, but by the color of what is there first and by what is there last, if the right one is found. Every
shape stays in a quarter of the picture, so that none ever hides another.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from PIL import Image, ImageDraw

from eos_platform.tasks.drawn.base import Drawn

FRAMES, SIDE = 16, 140
KINDS = ("circle", "square", "triangle", "cross", "ring")
COLORS = {
    "red": "#d32f2f",
    "green": "#388e3c",
    "blue": "#1976d2",
    "yellow": "#fbc02d",
    "purple": "#7b1fa2",
    "orange": "#f57c00",
}
GROUNDS = ("#eceff1", "#fff8e1", "#e8eaf6", "#d7ccc8")
STAINS = ("#b0bec5", "#cfd8dc", "#bcaaa4")
WAYS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
COMES, GOES = (0, 2, 4, 6, 8), (10, 12, 14, FRAMES)
STILL, NEVER = "nowhere", "none"


class Shape(NamedTuple):
    """One shape; lengths are shares of the side, times are frames."""

    kind: str
    color: str
    comes: int  # its first frame
    goes: int  # the frame it is no longer in
    way: str  # it moves, while it is there; or nowhere
    start: tuple[float, float]
    reach: float  # of the whole way
    radius: float
    turns: str  # another color; or none
    when: int  # from this frame on

    def at(self, frame: int) -> tuple[float, float, str] | None:
        """Where its middle is and its color; None: it is not there."""
        if not self.comes <= frame < self.goes:
            return None
        gone = self.reach * (frame - self.comes) / max(1, self.goes - 1 - self.comes)
        x, y = WAYS.get(self.way, (0, 0))
        color = self.turns if self.turns != NEVER and frame >= self.when else self.color
        return self.start[0] + x * gone, self.start[1] + y * gone, color


class Scene(NamedTuple):
    """A film: shapes, and what never changes."""

    shapes: tuple[Shape, ...]
    ground: str
    stains: tuple[tuple[float, float, float, str], ...]  # place, radius and color


class Films(Drawn):
    """Two to four shapes a film, of different kinds, that come at different times and go at different times."""

    name = "films"
    groups: tuple[str, ...] = ("direction", "order", "first", "last", "change", "count")
    films = True  # the pictures of an example are the frames of one

    def __init__(self, side: int = SIDE) -> None:
        """``side``: pixels of a frame.

        Raises:
            EosError: no such side.
        """
        super().__init__(side)

    def scene(self, rng: random.Random) -> Scene:
        """Shapes in quarters of the picture."""
        many = rng.randint(2, 4)
        kinds, quarters = rng.sample(KINDS, many), rng.sample(range(4), many)
        comes, goes = rng.sample(COMES, many), rng.sample(GOES, many)
        shapes = tuple(self._shape(rng, *one) for one in zip(kinds, quarters, comes, goes, strict=True))
        stains = tuple(
            (rng.random(), rng.random(), rng.uniform(0.01, 0.025), rng.choice(STAINS)) for _ in range(rng.randint(4, 9))
        )
        return Scene(shapes, rng.choice(GROUNDS), stains)

    @staticmethod
    def _shape(rng: random.Random, kind: str, quarter: int, comes: int, goes: int) -> Shape:
        way = rng.choice((*WAYS, STILL))
        radius = rng.uniform(0.07, 0.09)
        low, high = radius + 0.01, 0.49 - radius  # of its middle within the quarter
        reach = 0.0 if way == STILL else rng.uniform(0.22, high - low)
        across, down = WAYS.get(way, (0, 0))

        def first(step: int) -> float:
            return rng.uniform(low + reach * (step < 0), high - reach * (step > 0))

        start = quarter % 2 / 2 + first(across), quarter // 2 / 2 + first(down)
        color = rng.choice(list(COLORS))
        turns = rng.choice([other for other in COLORS if other != color]) if rng.random() < 0.5 else NEVER
        return Shape(kind, color, comes, goes, way, start, reach, radius, turns, rng.randint(comes + 1, goes - 1))

    def picture(self, key: str) -> Any:
        """The frames of a key's film."""
        return self.drawn(self.scene(random.Random(key)), random.Random(key))

    def drawn(self, scene: Scene, rng: random.Random) -> Any:
        """Its frames (a list of pictures)."""
        ground = Image.new("RGB", (self.side, self.side), scene.ground)
        pen = ImageDraw.Draw(ground)
        for x, y, radius, color in scene.stains:
            pen.ellipse(self._box(x, y, radius), fill=color)
        frames = []
        for number in range(FRAMES):
            frame = ground.copy()
            pen = ImageDraw.Draw(frame)
            for shape in scene.shapes:
                shown = shape.at(number)
                if shown is not None:
                    self._draw(pen, shape, *shown)
            frames.append(frame)
        return frames

    def _box(self, x: float, y: float, radius: float) -> tuple[float, float, float, float]:
        return tuple(round(self.side * value) for value in (x - radius, y - radius, x + radius, y + radius))  # type: ignore[return-value]

    def _draw(self, pen: ImageDraw.ImageDraw, shape: Shape, x: float, y: float, color: str) -> None:
        left, top, right, bottom = box = self._box(x, y, shape.radius)
        fill, third = COLORS[color], (right - left) / 3
        if shape.kind == "circle":
            pen.ellipse(box, fill=fill)
        elif shape.kind == "square":
            pen.rectangle(box, fill=fill)
        elif shape.kind == "triangle":
            pen.polygon([(left, bottom), (right, bottom), ((left + right) / 2, top)], fill=fill)
        elif shape.kind == "cross":
            pen.rectangle((left + third, top, right - third, bottom), fill=fill)
            pen.rectangle((left, top + third, right, bottom - third), fill=fill)
        else:
            pen.ellipse(box, outline=fill, width=max(2, round(third * 0.9)))

    def questions(self, scene: Scene, key: str) -> list[tuple[str, str, str]]:
        """One of each group, about shapes drawn anew."""
        rng = random.Random(f"{key}-asked")
        return [rng.choice(some) for some in self.everything(scene).values()]

    def everything(self, scene: Scene) -> dict[str, list[tuple[str, str, str]]]:
        """All that can be asked, by group."""
        shapes = scene.shapes
        pairs = [(one, two) for one in shapes for two in shapes if one is not two]
        first, last = min(shapes, key=lambda one: one.comes), max(shapes, key=lambda one: one.goes)
        return {
            "direction": [("direction", f"which way does the {one.kind} move?", one.way) for one in shapes],
            "order": [
                (
                    "order",
                    f"which comes first, the {one.kind} or the {two.kind}?",
                    min(one, two, key=lambda shape: shape.comes).kind,
                )
                for one, two in pairs
            ],
            "first": [("first", "what color is the first shape?", first.color)],
            "last": [("last", "which shape is there last?", last.kind)],
            "change": [("change", f"which color does the {one.kind} turn?", one.turns) for one in shapes],
            "count": [
                ("count", "how many shapes are there?", str(len(shapes))),
                ("count", "how many shapes change color?", str(sum(one.turns != NEVER for one in shapes))),
            ],
        }
