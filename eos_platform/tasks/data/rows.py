"""Rows as they stand in files, before anybody asks what they mean; and those that cannot even be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from eos_platform.common.errors import EosError, did_you_mean, shown
from eos_platform.common.printable import printable
from eos_platform.tasks.data.schema import KEYS

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


def columns_of(text: str | None) -> dict[str, str] | None:
    """``question=query,answer=label`` as a mapping.

    Raises:
        EosError: it is none, or of no column that is known here.
    """
    if text is None:
        return None
    result: dict[str, str] = {}
    for pair in str(text).split(","):
        here, sign, there = (part.strip() for part in pair.partition("="))
        if not (here and sign and there):
            raise EosError(f"columns: question=query,answer=label is the form, not {shown(text)}")
        if here not in KEYS:
            raise EosError(f"columns: unknown key {shown(here)}{did_you_mean(here, KEYS)}")
        result[here] = there
    return result
