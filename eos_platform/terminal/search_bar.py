"""A bar for one search in a terminal; light to import, so that a search in Python waits for no tracker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from eos_platform.common import console as terminal
from eos_platform.tasks.data.progress import telling

_CURVES = {
    "loss": "loss",
    "soft_compute_ratio": "soft compute ratio",
    "soft_cost": "soft cost",
    "accuracy": "deployed accuracy",
}


def curves_told(values: dict[str, float]) -> str:
    """The curves that a person follows, in words."""
    return ", ".join(f"{shown} {values[name]:.3g}" for name, shown in _CURVES.items() if name in values)


@contextmanager
def search_bar(console: Console, steps: int) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """A bar with ETA for one search; gives the report callback that moves it."""
    columns = (TextColumn("searching"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    curves = TextColumn("{task.description}", markup=False)
    with Progress(*columns, curves, console=console, transient=True, disable=not terminal.draws(console)) as bar:
        task = bar.add_task("", total=steps)

        def report(step: int, values: dict[str, float]) -> None:
            bar.update(task, completed=step, description=curves_told(values))

        def tell(what: str, done: int, total: int | None) -> None:
            if done % 16 == 0 or done == total:
                bar.update(task, description=f"{what}: {done:,} of {total:,}" if total else f"{what}: {done:,}")

        with telling(tell):
            yield report
