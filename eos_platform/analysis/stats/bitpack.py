"""What answers are worth, question by question, as a short string: a bit each where they are right or wrong."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import ArrayLike, NDArray

SHARES = "f4:"  # before base64 of numbers of four bytes each, least first


def pack(scores: ArrayLike) -> str:
    """Booleans as base64 of their bits, eight to a byte, the first in the highest bit; other scores as ``SHARES``."""
    correct = np.asarray(scores)
    if not np.isin(correct, (0, 1)).all():
        return SHARES + base64.b64encode(correct.astype("<f4").tobytes()).decode()
    return base64.b64encode(np.packbits(np.asarray(correct, dtype=bool)).tobytes()).decode()


def unpack(text: str, count: int, *, strict: bool = False) -> NDArray[np.bool_] | NDArray[np.float64]:
    """The ``count`` booleans of ``pack``, or scores from 0 to 1.

    Args:
        strict: make sure that there are so many, and nothing else.

    Raises:
        ValueError: ``text`` is no base64, or (``strict``) of another number of booleans or scores.
    """
    if text.startswith(SHARES):
        shares = np.frombuffer(base64.b64decode(text[len(SHARES) :], validate=strict), dtype="<f4").astype(float)
        if len(shares) != count or not ((shares >= 0) & (shares <= 1)).all():
            raise ValueError(f"{len(shares)} scores for {count}, or some not from 0 to 1")
        return shares
    data = base64.b64decode(text, validate=strict)
    if strict and len(data) != (count + 7) // 8:
        raise ValueError(f"{len(data)} bytes for {count} booleans")
    return np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=count).astype(bool)
