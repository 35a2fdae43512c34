"""A bar with ETA for work over data that takes longer than a moment; elsewhere than in a terminal, lines on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from eos_platform.common import console as terminal
from eos_platform.tasks.data.progress import telling
from eos_platform.terminal.lines import Lines

OFTEN = 0.1  # seconds between changes of the bar


@contextmanager
def data_bar(console: Console) -> Iterator[None]:
    """Show how far reading, looking at pictures and encoding have come, in the block."""
    if not terminal.draws(console):
        with telling(Lines(terminal.console(stderr=True)).tell):
            yield
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        known: dict[str, TaskID] = {}
        last = 0.0

        def tell(what: str, done: int, total: int | None) -> None:
            nonlocal last
            now = time.monotonic()
            if done and done != total and now - last < OFTEN:
                return
            last = now
            if what not in known:
                for other in known.values():
                    bar.update(other, visible=False)
                known[what] = bar.add_task(what, total=total)
            bar.update(known[what], completed=done, total=total, visible=True)

        with telling(tell):
            yield


@contextmanager
def asking_bar(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A bar with ETA for questions that are asked; gives what moves it."""
    if not terminal.draws(console):
        yield Lines(terminal.console(stderr=True)).tell
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        known: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in known:
                for other in known.values():
                    bar.update(other, visible=False)
                known[what] = bar.add_task(what, total=total, completed=done)
            bar.update(known[what], completed=done)

        yield tell
