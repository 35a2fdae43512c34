"""The two small LLaVAs that ship with the package: ``bundled`` (576 visual tokens) and ``bundled-small`` (144)."""

from __future__ import annotations

from pathlib import Path

GRIDS = {"bundled": 24, "bundled-small": 12}  # visual tokens a side


def folder(name: str) -> Path:
    """Where the weights of a bundled model lie (a Hugging Face model folder)."""
    return Path(__file__).parent / name
