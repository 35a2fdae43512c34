"""Progress of one search: a bar in a terminal, a line now and then elsewhere.

Light to import, so that a search in Python waits for no tracker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from eos_platform.common import console as terminal
from eos_platform.tasks.data.progress import telling
from eos_platform.terminal.lines import Lines

_CURVES = {
    "loss": "loss",
    "soft_compute_ratio": "soft compute ratio",
    "soft_cost": "soft cost",
    "accuracy": "deployed accuracy",
}


def curves_told(values: dict[str, float]) -> str:
    """The curves that a person follows, in words."""
    return ", ".join(f"{shown} {values[name]:.3g}" for name, shown in _CURVES.items() if name in values)


Tell = Callable[[int, dict[str, float]], None]


@contextmanager
def search_bar(
    console: Console, steps: int, *, lines: bool = True, clock: Callable[[], float] = time.monotonic
) -> Iterator[Tell]:
    """Progress of one search, with the time left.

    Args:
        steps: of the search, in all.
        lines: print lines where no bar can be drawn (into a file, on a dumb terminal); otherwise nothing.
        clock: seconds.

    Yields:
        The report callback of the search: called with the step and its curves.
    """
    if not terminal.draws(console):
        if not lines:
            yield lambda step, values: None
            return
        spoken = Lines(console, clock)
        with telling(spoken.tell):
            yield lambda step, values: spoken.tell("search steps", step, steps, curves_told(values))
        return
    columns = (TextColumn("searching"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    curves = TextColumn("{task.description}", markup=False)
    with Progress(*columns, curves, console=console, transient=True) as bar:
        task = bar.add_task("", total=steps)

        def report(step: int, values: dict[str, float]) -> None:
            bar.update(task, completed=step, description=curves_told(values))

        def tell(what: str, done: int, total: int | None) -> None:
            if done % 16 == 0 or done == total:
                bar.update(task, description=f"{what}: {done:,} of {total:,}" if total else f"{what}: {done:,}")

        with telling(tell):
            yield report
