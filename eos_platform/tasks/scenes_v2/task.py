"""``scenes-v2`` as examples, for models of any family."""

from __future__ import annotations

from functools import partial
from typing import Any

from PIL import Image

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError, shown, unknown
from eos_platform.models.adapters.adapter import Adapter
from eos_platform.protocols import SPLITS, Example, Split
from eos_platform.tasks import scenes_v2
from eos_platform.tasks.detail import DETAIL
from eos_platform.tasks.scenes_v2.layout import LARGEST, SMALLEST, VERSION
from eos_platform.tasks.scenes_v2.sizes import Pixels, sizes_for

DIFFICULTIES = ("difficulty-1", "difficulty-2", "difficulty-3")


class ScenesV2:
    """The second drawn task: objects, documents, tables and charts.

    Groups are the skills, and as subsets the three difficulties and ``detail`` (see ``tasks.detail``).

    Attributes:
        sizes: of the pictures, (width, height), taken in turn.
    """

    name = "scenes-v2"
    version = str(VERSION)
    groups = (*scenes_v2.SKILLS, *DIFFICULTIES, DETAIL)
    exact = True
    detail = True

    def __init__(self, sizes: Any = None) -> None:
        """Pictures of 336 x 336 pixels until a model is to be suited.

        Args:
            sizes: pixels a side of square pictures, or a list of (width, height) to be taken in turn; as text
                ``448`` or ``448x252,336x336``; left out: as the model's family is made for.

        Raises:
            EosError: sizes there are no pictures of.
        """
        self._told = sizes is not None
        self.sizes = _checked(sizes) if self._told else ((336, 336),)

    def suit(self, adapter: Adapter) -> None:
        """Draw pictures of the sizes a model's family is made for, unless sizes were given."""
        if not self._told:
            self.sizes = sizes_for(adapter)

    def examples(self, split: Split, count: int) -> list[Example]:
        """The first ``count`` questions of a split.

        Raises:
            EosError: unknown split.
        """
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        made = []
        for one in scenes_v2.examples(split, count, self.sizes):
            width, height = scenes_v2.size_of(self.sizes, one.picture)
            image = partial(_drawn, split, one.picture, (width, height))
            key = f"{split}-{one.picture}-{width}x{height}"
            subsets = (DIFFICULTIES[one.difficulty - 1],)
            made.append(Example(image, one.question, one.answer, one.skill, key, subsets))
        return made

    def score(self, output: str, example: Example) -> float:
        """1 where the answer is right to the last letter."""
        return float(output.strip() == example.answer)


def _drawn(split: Split, index: int, size: Pixels) -> Image.Image:
    return Image.fromarray(scenes_v2.picture(split, index, size))


def _checked(sizes: Any) -> tuple[Pixels, ...]:
    read = _read(sizes) if isinstance(sizes, str) else sizes
    if _is_side(read):
        return ((read, read),)
    rows = read if isinstance(read, (list, tuple)) else ()
    if not rows or not all(map(_is_size, rows)):
        raise EosError(
            f"task 'scenes-v2': sizes: pixels a side, or a list of [width, height] (on a command line 448, or "
            f"448x252,336x336), each {SMALLEST} to {LARGEST}, not {shown(sizes)}"
        )
    return tuple((row[0], row[1]) for row in rows)


def _read(text: str) -> Any:
    """Sizes as a command line has them: ``448`` or ``448x252,336x336``, or a list as JSON; None: it is none."""
    if text.startswith("["):
        try:
            return strict_json.loads(text)
        except strict_json.NotJson:
            return None
    rows = []
    for part in text.split(","):
        numbers = part.strip().split("x")
        if not all(number.isascii() and number.isdecimal() and len(number) <= 5 for number in numbers):
            return None
        sides = [int(number) for number in numbers]
        rows.append(sides * 2 if len(sides) == 1 else sides)
    return rows


def _is_size(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_side, value))


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and SMALLEST <= value <= LARGEST
