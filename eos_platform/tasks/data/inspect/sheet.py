"""Some questions as one picture: what a person looks at before anything is searched on them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from eos_platform.common.printable import printable
from eos_platform.tasks.data.question import Question

ACROSS, WIDE, HIGH, WORDS, GAP = 5, 260, 200, 130, 12
BESIDE = 4  # pictures of a question
LINE, CHARACTERS, LINES = 15, 38, 8


def sheet(questions: Sequence[Question]) -> Image.Image:
    """A table of pictures with what is asked about them and the right answer."""
    down = max(1, -(-len(questions) // ACROSS))
    page = Image.new("RGB", (ACROSS * (WIDE + GAP) + GAP, down * (HIGH + WORDS + GAP) + GAP), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for place, question in enumerate(questions):
        left = GAP + place % ACROSS * (WIDE + GAP)
        top = GAP + place // ACROSS * (HIGH + WORDS + GAP)
        small = _joined(question.opened())
        page.paste(small, (left + (WIDE - small.width) // 2, top + (HIGH - small.height) // 2))
        for number, line in enumerate(_lines(question)):
            draw.text((left, top + HIGH + 4 + number * LINE), line, "black", font)
    return page


def spread(questions: Sequence[Question], count: int) -> list[Question]:
    """``count`` of them, evenly over all."""
    return [questions[place] for place in places(len(questions), count)]


def places(total: int, count: int) -> list[int]:
    """``count`` places evenly over ``total``, the first and the last among them; all, where there are fewer."""
    count = min(count, total)
    return [place * (total - 1) // max(1, count - 1) for place in range(count)]


def _joined(result: Any) -> Image.Image:
    """Pictures side by side, in the room of one."""
    several = isinstance(result, (list, tuple))
    # of many, such as a film's frames, some from all over
    pictures = [result[place] for place in places(len(result), BESIDE)] if several else [result]
    room = Image.new("RGB", (WIDE, HIGH), "white")
    each = WIDE // len(pictures)
    for place, picture in enumerate(pictures):
        small = picture.copy()
        small.thumbnail((each, HIGH))
        room.paste(small, (place * each + (each - small.width) // 2, (HIGH - small.height) // 2))
    return room


def _lines(question: Question) -> list[str]:
    asked = textwrap.wrap(printable(question.question[:1000]), CHARACTERS)[: LINES - 2]
    reported = " | ".join(dict.fromkeys(question.answers)) or "(no answer)"
    return [*asked, printable(f"= {reported}")[:CHARACTERS], printable(question.place)[-CHARACTERS:]]
