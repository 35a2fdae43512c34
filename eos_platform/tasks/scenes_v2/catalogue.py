"""What pictures are made of: named and unnamed kinds of objects, colours, grounds, words, fonts.

Icons are Material Design Icons (Apache-2.0), letters are DejaVu's (Bitstream Vera licence): ``fonts/LICENSE-*``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

from eos_platform.common import strict_json

FONTS = Path(__file__).parent / "fonts"
_ICONS = strict_json.loads((FONTS / "icons.json").read_text("utf-8"))
CODES: dict[str, int] = _ICONS["named"]  # code point of every kind that questions name
OTHERS: tuple[int, ...] = tuple(_ICONS["others"])  # kinds that are drawn, but known by their colour only
KINDS = tuple(CODES)

RGB = {
    "red": (208, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 210),
    "yellow": (240, 216, 50),
    "purple": (140, 50, 170),
    "orange": (240, 136, 30),
    "pink": (246, 140, 190),
    "white": (246, 246, 246),
    "black": (24, 24, 24),
}
COLORS = tuple(RGB)
COARSE = ("grass", "water", "sand", "brick", "wood", "stone")
FINE = ("checks", "stripes", "dots", "zigzag", "weave")  # a period of four to six pixels: gone once shrunk
GROUNDS = COARSE + FINE
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
KEYS = ("name", "town", "food", "job", "code")  # what a note tells; a code is three letters or digits
COLUMNS = ("price", "age", "score", "stock", "speed")
ORDINALS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
COUNTS = ("zero", *ORDINALS, "nine", "ten", "eleven", "twelve")
LETTERS = "abcdefghjkmnpqrstuvwxyz"  # of codes: no i, l, o, which look like digits
DIGITS = "23456789"

WORDS = tuple((FONTS / "words.txt").read_text("utf-8").split())  # of documents: read, not recognised
FACES = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "DejaVuSansCondensed")
UNITS = 2048  # of a DejaVu em


@lru_cache(maxsize=512)
def face(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A font at a size in pixels; ``icons`` is the icon font."""
    return ImageFont.truetype(str(FONTS / f"{name}.ttf"), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=8192)
def width(text: str, name: str, size: int) -> int:
    """Pixels that a text takes, from the font's own units: the same on every machine."""
    return round(face(name, UNITS).getlength(text) * size / UNITS)
