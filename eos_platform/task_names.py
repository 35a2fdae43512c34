"""A task's name and options as text and as words of a command line; no task is loaded for that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eos_platform.common import strict_json
from eos_platform.models.bundled import MODELS

Choice = str | Mapping[str, Any]


def name_of(task: Choice) -> str:
    """The name of the task that is meant."""
    return task if isinstance(task, str) else str(task["name"])


def text_of(task: Choice) -> str:
    """One line that ``from_text`` reads again: the name alone, or JSON."""
    return task if isinstance(task, str) else strict_json.dumps(dict(task), sort_keys=True)


def from_text(text: str) -> str | dict[str, Any]:
    """What ``text_of`` wrote; other text is a name."""
    if text.startswith("{"):
        try:
            data = strict_json.loads(text)
        except strict_json.NotJson:
            return text
        if isinstance(data, dict) and isinstance(data.get("name"), str):
            return data
    return text


def default_for(model: str | Path) -> str:
    """The task that is meant where none is named: the one a bundled model was trained on, else ``scenes``."""
    known = MODELS.get(str(model))
    return known.task if known else "scenes"


def options_of(task: Choice, model: str | Path = "") -> list[str]:
    """The same as words of a command line; none for what is meant anyway with a model."""
    if task == default_for(model):
        return []
    words = ["--task", name_of(task)]
    for key, value in () if isinstance(task, str) else task.items():
        if key in ("data", "allow_bad"):
            words += [f"--{key.replace('_', '-')}", str(value)]
        elif key != "name":
            words += ["--option", f"{key}={str(value).lower() if isinstance(value, bool) else value}"]
    return words
