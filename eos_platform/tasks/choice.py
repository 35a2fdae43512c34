"""Which task is meant: its name, or a mapping of its name and options.

task: scenes
task: {name: files, data: questions.jsonl}
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eos_platform.common.boundary import reading
from eos_platform.common.errors import EosError, did_you_mean, shown
from eos_platform.common.printable import check_characters
from eos_platform.protocols import Task
from eos_platform.task_names import Choice as Choice
from eos_platform.task_names import default_for as default_for
from eos_platform.task_names import from_text as from_text
from eos_platform.task_names import name_of as name_of
from eos_platform.task_names import options_of as options_of
from eos_platform.task_names import text_of as text_of
from eos_platform.tasks.registry import TASKS

PATHS = ("data", "images", "root")  # options that are paths


def checked(task: Any) -> str | dict[str, Any]:
    """The short form where there are no options, else the long one; nothing is opened.

    Raises:
        EosError: no task of that name, or options that it does not take or lacks.
    """
    if isinstance(task, str):
        task = {"name": task}
    if not isinstance(task, Mapping):
        raise EosError(f"task: a name, or a mapping such as {{name: files, data: FILE}}, not {shown(task)}")
    name = task.get("name")
    if not isinstance(name, str):
        raise EosError(f"task: 'name' must be that of a task{did_you_mean('', TASKS)}")
    opener = TASKS.get_named(name)
    options = {key: value for key, value in task.items() if key != "name" and value is not None}
    takes = inspect.signature(opener).parameters
    for key, value in options.items():
        if key not in takes:
            near = did_you_mean(str(key), takes) if takes else "; it has no options"
            raise EosError(f"task '{name}': unknown option {shown(key)}{near}")
        if isinstance(value, str):
            _check_characters(value, f"task '{name}': {key}")
    for key, one in takes.items():
        needed = one.default is one.empty and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
        if needed and key not in options:
            flag = f"--{key}" if key == "data" else f"--option {key}=..."
            raise EosError(f"task '{name}' needs '{key}' ({flag}, or task.{key} in a study)")
    return {"name": name, **{key: _plain(value) for key, value in options.items()}} if options else name


def open_task(task: Choice | Task) -> Task:
    """The task that is meant; a task itself is itself.

    Raises:
        EosError: see ``checked``; or what the task itself says.
    """
    if isinstance(task, Task) and not isinstance(task, (str, Mapping)):
        return task
    choice = checked(task)
    name = name_of(choice)
    options = {} if isinstance(choice, str) else {key: value for key, value in choice.items() if key != "name"}
    with reading(f"task '{name}'"):  # it may be another package's
        made = TASKS.get_named(name)(**options)
    if not isinstance(made, Task):
        raise EosError(f"task '{name}': {shown(made)} lacks what a task has: {', '.join(_lacking(made))}")
    return made


def _lacking(thing: Any) -> list[str]:
    return [part for part in ("name", "version", "groups", "examples", "score") if not hasattr(thing, part)]


OWN = ("name", "data", "allow_bad")  # what command lines have other words for


def parsed(name: str, options: Sequence[str], own: Sequence[str] = OWN) -> dict[str, Any]:
    """Options of a command line, ``KEY=VALUE``: text, but where the task's own signature says otherwise.

    Args:
        name: of the task.
        options: to be read.
        own: keys that are no options there.

    Raises:
        EosError: one is no such pair, or of another type.
    """
    takes = inspect.signature(TASKS.get_named(name)).parameters
    data: dict[str, Any] = {}
    for option in options:
        key, sign, value = option.partition("=")
        if not sign or not key:
            raise EosError(f"--option {shown(option)}: KEY=VALUE is expected")
        if key in data or key in own:
            reported = "given twice" if key in data else f"has an option of its own, --{key.replace('_', '-')}"
            raise EosError(f"--option {shown(key)}: {reported}")
        kind = str(takes[key].annotation) if key in takes else "str"
        data[key] = _typed(key, value, kind)
    return data


def _typed(key: str, value: str, kind: str) -> str | int | float | bool:
    try:
        if kind in ("int", "<class 'int'>"):
            return int(value)
        if kind in ("float", "<class 'float'>"):
            return float(value)
    except ValueError:
        raise EosError(f"--option {key}: a number is expected, not {shown(value)}") from None
    if kind in ("bool", "<class 'bool'>"):
        if value not in ("true", "false"):
            raise EosError(f"--option {key}: true or false is expected, not {shown(value)}")
        return value == "true"
    return value


def with_absolute_paths(task: Choice) -> str | dict[str, Any]:
    """The same with paths that are there made absolute, for processes that stand elsewhere."""
    if isinstance(task, str):
        return task
    return {
        key: os.path.abspath(value) if key in PATHS and isinstance(value, str) and os.path.exists(value) else value
        for key, value in task.items()
    }


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _check_characters(text: str, where: str) -> None:
    try:
        check_characters(text)
    except ValueError as error:
        raise EosError(f"{where}: {error}") from None
