"""The dashboard's libraries without what they load but the dashboard does not use.

All of these are optional to the library that imports them, and take about 150 MB together:

- Optuna imports scikit-learn for an evaluator other than ours, and matplotlib for a second set of figures;
- pandas imports pyarrow, for which our strings and numbers have no need;
- Dash imports IPython, to show applications inside notebooks.

While the library is imported they are hidden; afterwards they can be imported as usual.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

NEEDLESS = {"optuna": ("sklearn", "matplotlib"), "pandas": ("pyarrow",), "dash": ("IPython",)}
_lock = threading.Lock()


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """None in ``sys.modules`` makes an import fail, which libraries take for "not installed"."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def light(name: str) -> ModuleType:
    """The library, or a part of one: imported without what ``NEEDLESS`` names, unless it is there already.

    Raises:
        ImportError: it is not installed.
    """
    with _lock:
        if (known := sys.modules.get(name)) is not None:
            return known
        with _without(*NEEDLESS.get(name.split(".")[0], ())):
            return importlib.import_module(name)


def optuna_part(name: str) -> ModuleType:
    """``optuna.importance`` or ``optuna.visualization``."""
    return light(f"optuna.{name}")
