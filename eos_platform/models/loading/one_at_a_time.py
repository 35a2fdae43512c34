"""transformers loads in one thread at a time.

While it builds a model it exchanges functions and defaults of torch and of its own for the whole process, and puts back
what it found. Two threads that do so at once put back each other's: weights are then found missing ("its weights lack
'lm_head.weight'"), in that load and in every later one of the process. Its own lazy imports are no safer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")
_LOADING = threading.RLock()  # what loads a workload loads a model in turn


def one_at_a_time(loads: Callable[_P, _R]) -> Callable[_P, _R]:
    """A function that loads something through transformers, waiting for whatever else does."""

    @wraps(loads)
    def waiting(*args: _P.args, **options: _P.kwargs) -> _R:
        with _LOADING:
            return loads(*args, **options)

    return waiting
