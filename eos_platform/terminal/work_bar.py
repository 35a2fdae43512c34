"""Progress of work in pieces of known size: a bar with time left in a terminal, a line a piece elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from eos_platform.common import console as terminal
from eos_platform.terminal.eta import duration


class WorkBar:
    """How much is done, in units of any kind."""

    def __init__(self, console: Console, total: int, done: int, clock: Callable[[], float]) -> None:
        self.console, self.total, self.done, self.clock = console, total, done, clock
        self.begun, self.first = clock(), done
        self.bar: Progress | None = None

    def working(self, what: str, part: int = 0) -> None:
        """What is being done now, and how much of it is done."""
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=self.done + part, description=terminal.printable(what))

    def finished(self, line: str, amount: int) -> None:
        """A piece is done; the line stays."""
        self.done += amount
        left = ""
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=self.done)
        elif self.done - self.first > 0 and self.done < self.total:
            each = (self.clock() - self.begun) / (self.done - self.first)
            left = f", about {duration(each * (self.total - self.done))} left"
        self.console.print(f"{terminal.printable(line)}{left}", markup=False, soft_wrap=True, highlight=False)


@contextmanager
def work_bar(
    console: Console, total: int, done: int = 0, clock: Callable[[], float] = time.monotonic
) -> Iterator[WorkBar]:
    """A bar over ``total`` units of which ``done`` were done earlier."""
    work = WorkBar(console, total, done, clock)
    if not terminal.draws(console):
        yield work
        return
    columns = (BarColumn(bar_width=24), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.description}", markup=False), console=console, transient=True) as bar:
        work.bar = bar
        bar.add_task("", total=total, completed=done)
        yield work
