"""Optuna's importance and figures without what they bring along and the dashboard does not use.

Optuna imports scikit-learn for an evaluator other than ours, and matplotlib for a second set of figures, both only if
they are there: a hundred megabytes. While Optuna is imported here they are not.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

NEEDLESS = ("sklearn", "matplotlib")
_lock = threading.Lock()


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """None in ``sys.modules`` makes an import fail, which Optuna takes for "not installed"."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def optuna_part(name: str) -> ModuleType:
    """``optuna.importance`` or ``optuna.visualization``."""
    with _lock:
        if f"optuna.{name}" in sys.modules:
            return sys.modules[f"optuna.{name}"]
        with _without(*NEEDLESS):
            return importlib.import_module(f"optuna.{name}")
