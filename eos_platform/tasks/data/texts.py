"""Text of a row, and nothing that is not: answers are never turned from one type into another."""

from __future__ import annotations

from typing import Any

from eos_platform.common.errors import EosError, brief, shown

LONGEST = 100_000  # characters of a question or an answer


def no_text(value: Any, key: str) -> str:
    """Numbers and truth values are not written as text for anybody: 2 may stand for "2", "2.0" or "two".

    Raises:
        EosError: always.
    """
    if isinstance(value, bool):
        raise EosError(f'{key}: text is expected, not {value}; write it as "{"yes" if value else "no"}", say')
    if isinstance(value, (int, float)):
        raise EosError(f'{key}: text is expected, not {shown(value)}; write it as text: "{brief(str(value)[:40])}"')
    raise EosError(f"{key}: text is expected, not {shown(value)}")


def checked(value: Any, key: str, most: int | None = LONGEST) -> str:
    """Text that is not empty.

    Raises:
        EosError: it is empty, too long, or no text.
    """
    if not isinstance(value, str):
        return no_text(value, key)
    if not value.strip():
        raise EosError(f"{key}: empty")
    if most is not None and len(value) > most:
        raise EosError(f"{key}: {len(value):,} characters; the most is {most:,}")
    if "\0" in value:
        raise EosError(f"{key}: a NUL among its characters")
    return value
