"""Packages that only some formats need: imported when first used, and named with the command that installs them."""

from __future__ import annotations

import importlib
from typing import Any

from eos_platform.common.errors import EosError


def needed(module: str, extra: str, why: str) -> Any:
    """The module.

    Args:
        module: its dotted name.
        extra: of this package, that brings it.
        why: what needs it, for the error.

    Raises:
        EosError: it is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        top = module.split(".")[0]
        missing = isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == top
        text = "is not installed" if missing else f"cannot be imported ({str(error)[:80]})"
        raise EosError(f"{why} needs {top}, which {text}: pip install 'eos-platform[{extra}]'") from None
