"""Rows as they stand in files, before anybody asks what they mean; and those that cannot even be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from eos_platform.common.printable import printable

LONGEST_LINE = 64 << 20  # bytes of one row of text, base64 pictures among them


@dataclass(frozen=True, slots=True)
class Raw:
    """A row.

    Attributes:
        place: file and line, for messages.
        values: by column. Text is text: no reader turns "007" into a number, or "None" into nothing.
    """

    place: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that cannot be used.

    Attributes:
        place: file and line.
        reason: what is wrong with it.
        kind: the reason without names and numbers, under which such rows are counted.
    """

    place: str
    reason: str
    kind: str = field(default="")

    def __str__(self) -> str:
        return printable(f"{self.place}: {self.reason}")


Rows = Iterator[Raw | Bad]
