"""Draw a scene, in a few milliseconds: masks of glyphs and words are kept."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from eos_platform.tasks.scenes_v2.catalogue import RGB, face
from eos_platform.tasks.scenes_v2.grounds import ground
from eos_platform.tasks.scenes_v2.scene import Chart, Objects, Page, Scene, Table, Text, Thing

Rgb = tuple[int, int, int]
INKS: tuple[Rgb, ...] = ((20, 20, 30), (30, 30, 90), (70, 25, 25), (20, 60, 40))
PAPERS: tuple[Rgb, ...] = ((252, 252, 250), (250, 244, 222), (230, 240, 250), (236, 248, 232), (250, 232, 236))
GRID: Rgb = (196, 196, 204)


def render(scene: Scene) -> np.ndarray:
    """The picture, (height, width, 3) uint8."""
    rng = np.random.default_rng(scene.seed)
    image = Image.new("RGB", (scene.width, scene.height))
    draw = ImageDraw.Draw(image)
    for panel in scene.panels:
        if isinstance(panel, Objects):
            _objects(image, draw, panel, rng)
            continue
        ink, paper = INKS[int(rng.integers(len(INKS)))], PAPERS[int(rng.integers(len(PAPERS)))]
        left, top, right, bottom = panel.box
        draw.rectangle((left, top, right - 1, bottom - 1), fill=paper, outline=(90, 90, 90))
        if isinstance(panel, Page):
            _page(image, draw, panel, ink)
        elif isinstance(panel, Table):
            _table(image, draw, panel, ink)
        else:
            _chart(image, draw, panel, ink)
    return np.asarray(image)


def _objects(image: Image.Image, draw: ImageDraw.ImageDraw, panel: Objects, rng: np.random.Generator) -> None:
    left, top, right, bottom = panel.box
    image.paste(ground(panel.ground, (right - left, bottom - top), rng), (left, top))
    _clutter(draw, panel, rng)
    for thing in panel.things:
        _thing(image, thing, rng)


def _clutter(draw: ImageDraw.ImageDraw, panel: Objects, rng: np.random.Generator) -> None:
    """Specks and strokes in the objects' colours: too small to be a thing, too bright to ignore."""
    left, top, right, bottom = panel.box
    colors = list(RGB.values())
    for kind, color, x, y, a, b in rng.random((panel.clutter, 6)).tolist():
        x, y = left + 8 + x * (right - left - 16), top + 8 + y * (bottom - top - 16)
        a, b, fill = 14 * a - 7, 14 * b - 7, colors[int(color * len(colors))]
        if kind < 0.4:
            draw.line((x, y, x + a, y + b), fill=fill, width=2)
        elif kind < 0.7:
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=fill)
        else:
            draw.arc((x - 5, y - 5, x + 5, y + 5), 20, 250, fill=fill, width=2)


@lru_cache(maxsize=16384)
def _glyph(code: int, side: int) -> tuple[Image.Image, Image.Image]:
    """(mask, mask with a rim) of an icon, ``side`` + 4 pixels a side."""
    font = face("icons", round(1.14 * side))
    left, top, right, bottom = font.getbbox(chr(code))
    mask = Image.new("L", (side + 4, side + 4))
    at = ((side + 4 - (right - left)) / 2 - left, (side + 4 - (bottom - top)) / 2 - top)
    ImageDraw.Draw(mask).text(at, chr(code), font=font, fill=255)
    return mask, mask.filter(ImageFilter.MaxFilter(3))


def _thing(image: Image.Image, thing: Thing, rng: np.random.Generator) -> None:
    """An icon in its colour, with a dark rim (light for black ones) that sets it off the ground."""
    mask, rimmed = _glyph(thing.code, thing.side)
    at = (thing.x - mask.width // 2, thing.y - mask.height // 2)
    light = rng.uniform(0.9, 1.06)
    red, green, blue = (min(255, int(channel * light)) for channel in RGB[thing.color])
    rim = (220, 220, 220) if thing.color == "black" else (24, 24, 24)
    image.paste(rim, (*at, at[0] + mask.width, at[1] + mask.height), rimmed)
    image.paste((red, green, blue), (*at, at[0] + mask.width, at[1] + mask.height), mask)


@lru_cache(maxsize=16384)
def _word(text: str, name: str, size: int) -> tuple[Image.Image, int]:
    """The mask of a word and how far its top lies above the middle of its line."""
    font = face(name, size)
    middle = round(font.getbbox("x", anchor="ls")[1]) // 2  # of a small letter, above the base line
    _left, top, right, bottom = font.getbbox(text, anchor="ls")
    mask = Image.new("L", (max(1, round(right) + 1), max(1, round(bottom - top))))
    ImageDraw.Draw(mask).text((0, -top), text, font=font, fill=255, anchor="ls")
    return mask, round(middle - top)


def _write(image: Image.Image, text: Text, ink: Rgb) -> None:
    mask, above = _word(text.text, text.face, text.size)
    x, y = text.x, text.y - above
    image.paste(ink, (x, y, x + mask.width, y + mask.height), mask)


def _page(image: Image.Image, draw: ImageDraw.ImageDraw, page: Page, ink: Rgb) -> None:
    if page.title is not None:
        _write(image, page.title, ink)
        y = page.title.y + page.title.size // 2 + 3
        draw.line((page.box[0] + 5, y, page.box[2] - 6, y), fill=ink)
    for line in page.lines:
        for word in line:
            _write(image, word, ink)


def _table(image: Image.Image, draw: ImageDraw.ImageDraw, table: Table, ink: Rgb) -> None:
    left, _, right, _ = table.box
    half = (table.rows[0].y - table.columns[0].y) // 2
    for text in (table.columns[0], *table.rows):
        draw.line((left + 2, text.y + half, right - 3, text.y + half), fill=GRID)
    for text in table.columns:
        draw.line((text.x - 4, text.y - half, text.x - 4, table.rows[-1].y + half), fill=GRID)
    for text in (*table.columns, *table.rows, *(cell for row in table.cells for cell in row)):
        _write(image, text, ink)


def _chart(image: Image.Image, draw: ImageDraw.ImageDraw, chart: Chart, ink: Rgb) -> None:
    left, top, right, bottom = chart.plot
    for tick in chart.ticks:
        draw.line((left - 2, tick.y, right, tick.y), fill=GRID)
    draw.line((left, top, left, bottom, right, bottom), fill=ink)
    ends = [chart.place(number) for number in range(len(chart.values))]
    if chart.kind == "bar":
        half = max(4, min(14, (right - left) // (3 * len(ends))))
        for (x, y), color in zip(ends, chart.colors, strict=True):
            draw.rectangle((x - half, y, x + half, bottom), fill=RGB[color], outline=(40, 40, 40))
    else:
        draw.line(ends, fill=RGB[chart.colors[0]], width=2)
        for x, y in ends:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=RGB[chart.colors[0]], outline=(40, 40, 40))
    for text in (*chart.ticks, *chart.labels):
        _write(image, text, ink)


def quartered(picture: np.ndarray) -> np.ndarray:
    """The picture as a quarter of its pixels show it: halved both ways and enlarged again."""
    height, width = picture.shape[:2]
    image = Image.fromarray(picture)
    small = image.resize((max(1, width // 2), max(1, height // 2)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))
