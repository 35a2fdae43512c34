"""Right or wrong, question by question, as a short string."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pack(correct: ArrayLike) -> str:
    """Booleans as base64 of their bits, eight to a byte, the first in the highest bit."""
    return base64.b64encode(np.packbits(np.asarray(correct, dtype=bool)).tobytes()).decode()


def unpack(text: str, count: int, *, strict: bool = False) -> NDArray[np.bool_]:
    """The ``count`` booleans of ``pack``.

    Args:
        strict: make sure that there are so many, and nothing else.

    Raises:
        ValueError: ``text`` is no base64, or (``strict``) of another number of booleans.
    """
    data = base64.b64decode(text, validate=strict)
    if strict and len(data) != (count + 7) // 8:
        raise ValueError(f"{len(data)} bytes for {count} booleans")
    return np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=count).astype(bool)
