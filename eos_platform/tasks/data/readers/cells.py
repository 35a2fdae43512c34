"""Bytes of pictures as cells hold them, and rows without what is null."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from eos_platform.common.errors import EosError
from eos_platform.tasks.data.media import bytes_of


def bytes_in(value: Any, name: str) -> bytes:
    """The bytes of a picture's cell: bytes themselves, or a struct that holds them or a path to them.

    Raises:
        EosError: it holds neither.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        if isinstance(value.get("bytes"), bytes):
            return bytes(value["bytes"])
        if isinstance(value.get("path"), str) and value["path"]:
            return bytes_of(Path(value["path"]))
    raise EosError(f"{name}: empty")


def from_base64(text: str, name: str) -> bytes:
    """The bytes that base64 tells.

    Raises:
        EosError: it is none.
    """
    try:
        return base64.b64decode(text.removeprefix("data:").partition("base64,")[2] or text, validate=True)
    except ValueError:
        raise EosError(f"{name}: not base64") from None


def present(values: dict[str, Any]) -> dict[str, Any]:
    """Values without those that are null."""
    return {name: value for name, value in values.items() if value is not None}
