"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Trust = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python that lies in the model's folder (its auto_map).")
]
Missing = Annotated[
    bool,
    typer.Option("--allow-missing", help="Draw weights at random that the model's folder lacks; leave out others."),
]
Task = Annotated[
    str | None,
    typer.Option(
        help="What accuracy means: scenes, scenes-v2, files, or a task of an installed package; "
        "default: what a bundled model was trained on, else scenes."
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The task's data: of files, a JSONL file of image, question, answer."),
]
AllowBad = Annotated[
    float | None, typer.Option(metavar="SHARE", help="Leave out unusable rows of --data, up to so many of them.")
]


def task_of(task: str | None, data: Path | None, allow_bad: float | None, model: str) -> str | dict[str, Any]:
    """The task that is meant, in its normal form; where none is named, the one that goes with the model.

    Raises:
        EosError: unknown task, or options that it does not take or lacks.
    """
    from eos_platform.tasks.choice import checked, default_for

    return checked({"name": default_for(model) if task is None else task, "data": data, "allow_bad": allow_bad})


def tell_bad(workload: Any) -> None:
    """Say on stderr which rows of the task's data are left out."""
    from eos_platform.common import console as terminal

    bad = getattr(getattr(workload, "on", None), "bad", ())
    for line in bad[:LISTED]:
        terminal.say(f"eos: left out: {line}", stderr=True)
    if len(bad) > LISTED:
        terminal.say(f"eos: left out: {len(bad) - LISTED} more rows", stderr=True)


LISTED = 20
