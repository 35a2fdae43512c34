"""Right or wrong, question by question, as a short string."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pack(correct: ArrayLike) -> str:
    """Booleans as base64 of their bits, eight to a byte, the first in the highest bit."""
    return base64.b64encode(np.packbits(np.asarray(correct, dtype=bool)).tobytes()).decode()


def unpack(text: str, count: int) -> NDArray[np.bool_]:
    """The ``count`` booleans of ``pack``."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), dtype=np.uint8), count=count).astype(bool)
