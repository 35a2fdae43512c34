"""What a study's own file says of how it varies its fields."""

from __future__ import annotations

from pathlib import Path

import yaml

from eos_platform.common.errors import EosError
from eos_platform.common.files import read_text


def log_fields(path: Path | None) -> list[str]:
    """The fields of ``space`` that are varied on a logarithmic scale; none where there is no file to be read."""
    if path is None or not path.exists():
        return []
    try:
        plan = yaml.safe_load(read_text(path, "study file"))
    except (EosError, yaml.YAMLError):
        return []
    space = plan.get("space") if isinstance(plan, dict) else None
    space = space if isinstance(space, dict) else {}
    return [str(name) for name, how in space.items() if isinstance(how, dict) and how.get("log") is True]
