"""Draw a scene: textured grounds, clutter, a sign, a chart and patterned objects, in a few milliseconds."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from eos_platform.tasks.scenes.scene import GROUNDS, SCENE_VERSION, Scene, Thing

TILES, TILE_SIZE = 8, 448
GROUND_RGB = {
    "grass": (70, 120, 50),
    "water": (60, 110, 160),
    "sand": (200, 180, 130),
    "brick": (150, 80, 60),
    "wood": (140, 95, 55),
    "stone": (125, 125, 130),
}

RGB = {
    "red": (208, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 210),
    "yellow": (236, 214, 50),
    "purple": (140, 50, 170),
    "orange": (240, 136, 30),
    "white": (244, 244, 244),
    "black": (28, 28, 28),
}


def render(scene: Scene) -> np.ndarray:
    """The picture, (size, size, 3) uint8."""
    rng = np.random.default_rng(scene.seed)
    image = _ground(scene, rng)
    draw = ImageDraw.Draw(image)
    _clutter(draw, scene, rng)
    _chart(draw, scene)
    _sign(draw, scene, rng)
    for thing in scene.things:
        _thing(image, thing, rng)
    return np.asarray(image)


def _ground(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Two textures, each a crop of one of a few large tiles, tinted and lit at random."""
    size = scene.config.size
    edge = int(scene.split_at * size)
    corners = [(0, 0), (edge, 0) if scene.upright else (0, edge)]
    ground = Image.new("RGB", (size, size))
    for kind, (left, top) in zip(scene.grounds, corners, strict=True):
        tile = _tile(kind, int(rng.integers(TILES)))
        x, y = (int(v) for v in rng.integers(0, TILE_SIZE - size + 1, 2))
        tint = np.asarray(GROUND_RGB[kind]) * rng.uniform(0.8, 1.15) + rng.uniform(-12, 12, 3)
        shades = np.clip(tint * (1 + 0.8 * (np.arange(256)[:, None] / 127.5 - 1)), 0, 255).astype(np.uint8)
        crop = tile.crop((x + left, y + top, x + size, y + size))
        ground.paste(Image.merge("RGB", [crop.point(list(channel)) for channel in shades.T.tolist()]), (left, top))
    return ground


@lru_cache(maxsize=64)
def _tile(kind: str, number: int) -> Image.Image:
    """A large grey tile of one ground, TILE_SIZE a side; 127.5 is neither lit nor shaded."""
    size = TILE_SIZE
    rng = np.random.default_rng([SCENE_VERSION, GROUNDS.index(kind), number])
    fine = rng.random((size, size), np.float32) - 0.5
    coarse = _smooth_noise(size, 24, rng)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
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
    else:  # stone
        value = 0.5 * coarse + 0.5 * _smooth_noise(size, 8, rng) + 0.1 * fine
    return Image.fromarray(np.clip(127.5 * (1 + value), 0, 255).astype(np.uint8))


def _smooth_noise(size: int, cell: int, rng: np.random.Generator) -> np.ndarray:
    """Noise in [-.5, .5] that varies over about ``cell`` pixels."""
    cells = max(2, size // cell + 1)
    small = Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8))
    return np.asarray(small.resize((size, size), Image.Resampling.BILINEAR), np.float32) / 255 - 0.5


def _clutter(draw: ImageDraw.ImageDraw, scene: Scene, rng: np.random.Generator) -> None:
    """Specks, strokes and scraps in the objects' colours: too small to count, too bright to ignore."""
    size = scene.config.size
    names = list(RGB)
    for kind, name, x, y, a, b in zip(
        rng.integers(0, 3, scene.clutter),
        rng.integers(0, len(names), scene.clutter),
        rng.integers(0, size, scene.clutter),
        rng.integers(0, size, scene.clutter),
        rng.integers(-14, 15, scene.clutter),
        rng.integers(-14, 15, scene.clutter),
        strict=True,
    ):
        color, x, y, a, b = RGB[names[name]], int(x), int(y), int(a), int(b)
        if kind == 0:
            draw.line((x, y, x + a, y + b), fill=color, width=2)
        elif kind == 1:
            draw.ellipse((x - 3, y - 2, x + 3, y + 3), fill=color)
        else:
            draw.arc((x, y, x + abs(a) + 4, y + abs(b) + 4), 20, 250, fill=color, width=2)


def _chart(draw: ImageDraw.ImageDraw, scene: Scene) -> None:
    left, _, right, bottom = scene.chart_box
    config = scene.config
    draw.rectangle(scene.chart_box, fill=(236, 236, 240), outline=(60, 60, 60))
    floor = bottom - 5
    for level in range(1, config.levels + 1):
        y = floor - level * config.level_height
        draw.line((left + 3, y, right - 3, y), fill=(190, 190, 196))
    pitch = (right - left - 8) // len(scene.bars)
    for number, (color, level) in enumerate(scene.bars):
        x = left + 5 + number * pitch
        box = (x, floor - level * config.level_height, x + pitch - 5, floor)
        draw.rectangle(box, fill=RGB[color], outline=(40, 40, 40))


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _sign(draw: ImageDraw.ImageDraw, scene: Scene, rng: np.random.Generator) -> None:
    left, top, right, bottom = scene.sign_box
    draw.rectangle(scene.sign_box, fill=(250, 246, 225), outline=(80, 50, 20), width=2)
    pitch = (right - left - 8) / len(scene.sign)
    for number, letter in enumerate(scene.sign):
        x = left + 4 + (number + 0.5) * pitch + int(rng.integers(-1, 2))
        y = (top + bottom) / 2 + int(rng.integers(-1, 2))
        draw.text((x, y), letter, fill=(20, 20, 40), font=_font(scene.config.letter_size), anchor="mm")


def _outline(thing: Thing, scale: float) -> list[tuple[float, float]]:
    """Corner points of a polygonal shape around the tile's centre."""
    if thing.shape == "square":
        points = [(0.8 * math.cos(a), 0.8 * math.sin(a)) for a in (math.pi / 4 + k * math.pi / 2 for k in range(4))]
        points = [(x * 1.3, y * 1.3) for x, y in points]
    elif thing.shape == "triangle":
        points = [(math.sin(a), -math.cos(a)) for a in (k * 2 * math.pi / 3 for k in range(3))]
    elif thing.shape == "star":
        points = [
            (
                (1.0 if k % 2 == 0 else 0.42) * math.sin(k * math.pi / 5),
                -(1.0 if k % 2 == 0 else 0.42) * math.cos(k * math.pi / 5),
            )
            for k in range(10)
        ]
    else:  # cross
        w = 0.34
        points = [
            (-w, -1),
            (w, -1),
            (w, -w),
            (1, -w),
            (1, w),
            (w, w),
            (w, 1),
            (-w, 1),
            (-w, w),
            (-1, w),
            (-1, -w),
            (-w, -w),
        ]
        points = [(0.95 * x, 0.95 * y) for x, y in points]
    turn, r = math.radians(thing.angle), thing.radius * scale
    centre = thing.radius + 1
    return [
        (centre + r * (x * math.cos(turn) - y * math.sin(turn)), centre + r * (x * math.sin(turn) + y * math.cos(turn)))
        for x, y in points
    ]


def _mask(thing: Thing, scale: float) -> Image.Image:
    side = 2 * thing.radius + 3
    mask = Image.new("L", (side, side))
    draw = ImageDraw.Draw(mask)
    centre, r = thing.radius + 1, thing.radius * scale * 0.95
    if thing.shape in ("circle", "ring"):
        draw.ellipse((centre - r, centre - r, centre + r, centre + r), fill=255)
        if thing.shape == "ring":
            hole = thing.radius * (0.45 + (1 - scale))
            draw.ellipse((centre - hole, centre - hole, centre + hole, centre + hole), fill=0)
    else:
        draw.polygon(_outline(thing, scale), fill=255)
    return mask


def _thing(image: Image.Image, thing: Thing, rng: np.random.Generator) -> None:
    """An object: dark rim (light for black ones), body, and its pattern in a second shade."""
    side = 2 * thing.radius + 3
    base = np.asarray(RGB[thing.color], np.float32) * rng.uniform(0.9, 1.06)
    y, x = np.mgrid[0:side, 0:side]
    if thing.pattern == "striped":
        second = ((x + y) % 8) < 3
    elif thing.pattern == "dotted":
        second = ((x % 7) - 3) ** 2 + ((y % 7) - 3) ** 2 <= 3
    else:
        second = np.zeros((side, side), bool)
    shade = base + 120 if thing.color == "black" else base * 0.45
    body = np.clip(np.where(second[..., None], shade, base), 0, 255).astype(np.uint8)
    at = (thing.x - thing.radius - 1, thing.y - thing.radius - 1)
    rim = (200, 200, 200) if thing.color == "black" else (30, 30, 30)
    image.paste(Image.new("RGB", (side, side), rim), at, _mask(thing, 1.0))
    image.paste(Image.fromarray(body), at, _mask(thing, 1 - 2.2 / thing.radius))
