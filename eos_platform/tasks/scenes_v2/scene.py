"""A picture as data: panels of objects, text, a table, a chart.

All lengths are pixels, boxes are (left, top, right, bottom).
"""

from __future__ import annotations

from dataclasses import dataclass

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Thing:
    """One object: a glyph of the icon font in a colour. ``kind`` is empty where the glyph has no name."""

    kind: str
    code: int
    color: str
    x: int  # centre
    y: int
    side: int


@dataclass(frozen=True)
class Text:
    """A word (or number) set at (x, y): its left end, and the middle of its line."""

    text: str
    x: int
    y: int
    width: int
    size: int
    face: str

    @property
    def centre(self) -> tuple[int, int]:
        """The middle of the word."""
        return self.x + self.width // 2, self.y


@dataclass(frozen=True)
class Objects:
    """Things on a ground; ``clutter`` counts specks and strokes that mean nothing."""

    box: Box
    ground: str
    things: tuple[Thing, ...]
    clutter: int


@dataclass(frozen=True)
class Page:
    """A document of several lines: a ``note`` has a title and keys with values, a ``text`` has lines of words."""

    box: Box
    kind: str  # note | text
    title: Text | None
    lines: tuple[tuple[Text, ...], ...]  # of a note: (key, value)


@dataclass(frozen=True)
class Table:
    """Numbers by row and column."""

    box: Box
    columns: tuple[Text, ...]
    rows: tuple[Text, ...]
    cells: tuple[tuple[Text, ...], ...]  # [row][column]


@dataclass(frozen=True)
class Chart:
    """Bars of several colours, or one line. The plot area is ``plot``; a value v of 0 to ``top`` lies at its height."""

    box: Box
    plot: Box
    kind: str  # bar | line
    top: int
    step: int  # of the numbers on the axis
    labels: tuple[Text, ...]  # months, below
    ticks: tuple[Text, ...]
    colors: tuple[str, ...]  # of the bars; a line has one colour, repeated
    values: tuple[int, ...]

    def place(self, number: int) -> tuple[int, int]:
        """Where bar or point ``number`` ends."""
        left, top, right, bottom = self.plot
        x = left + (2 * number + 1) * (right - left) // (2 * len(self.values))
        return x, bottom - (bottom - top) * self.values[number] // self.top


Panel = Objects | Page | Table | Chart


@dataclass(frozen=True)
class Scene:
    """A whole picture. ``seed`` is of the drawing's own noise, which no question is about."""

    width: int
    height: int
    panels: tuple[Panel, ...]
    seed: int

    @property
    def things(self) -> tuple[Thing, ...]:
        """All objects, whichever panel they lie in."""
        return tuple(thing for panel in self.panels if isinstance(panel, Objects) for thing in panel.things)
