"""A question with all that a metric or a report may ask about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eos_platform.protocols import Example

MARK = "<image>"  # where a picture stands in a question's text


@dataclass(frozen=True)
class Question(Example):
    """An ``Example`` of a row.

    Attributes:
        id: of the row, unique.
        choices: of multiple choice; the answer is the letter.
        place: file and line.
        most: tokens that its answer may take, beside what the right answers take.
        facts: what else a benchmark's score needs: the picture's name, say.
        plain: the question as the row has it, without the options and instructions of the prompt.
    """

    id: str = ""
    choices: tuple[str, ...] = ()
    place: str = ""
    most: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    plain: str = ""


def letter(place: int) -> str:
    """A for 0."""
    return chr(ord("A") + place)


def marks(text: str) -> int:
    """How many places of pictures a question names."""
    return text.count(MARK)
