"""Amounts of memory, as people write and read them."""

from __future__ import annotations

import re

from eos_platform.common.errors import EosError, shown

SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) ?([KMGT])(i?)B")


def parse_bytes(text: str, where: str = "memory") -> int:
    """Bytes of ``22GB``, ``4GiB``, ``500MB`` or a plain number.

    Raises:
        EosError: it is none of them, or nothing at all.
    """
    match = SIZE.fullmatch(text.strip())
    if match is not None:
        number, unit, binary = match.groups()
        size = int(float(number) * (1024 if binary else 1000) ** ("KMGT".index(unit) + 1))
    else:
        size = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    if size < 1:
        raise EosError(f"{where}: a number of bytes, or such as 22GB, 4GiB or 500MB, is expected, not {shown(text)}")
    return size


def shown_bytes(size: float) -> str:
    """``22.0 GB``, in powers of 1,000."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size:.0f} B"


def shown_seconds(seconds: float) -> str:
    """``5 min 12 s``, ``3.2 s``, ``0.048 s``."""
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2g} s"
