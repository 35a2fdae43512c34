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
from eos_platform.terminal.eta import duration

FIRST, EVERY = 5.0, 30.0  # seconds until the first line where no bar can be drawn, and between two lines
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
        spoken = Lines(console, steps, clock)
        with telling(spoken.working):
            yield spoken.step
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


class Lines:
    """Lines for a log: the first soon, then one every half minute."""

    def __init__(self, console: Console, steps: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self.steps, self.clock = console, steps, clock
        self.next = clock() + FIRST
        self.first: tuple[float, int] | None = None  # when the first step was reported, and which

    def step(self, step: int, values: dict[str, float]) -> None:
        """A step was made."""
        now = self.clock()
        self.first = self.first or (now, step)
        begun, earlier = self.first
        left = ""
        if step > earlier:
            left = f", about {duration((now - begun) / (step - earlier) * (self.steps - step))} left"
        curves = curves_told(values)
        self._say(f"searching: step {step:,} of {self.steps:,}{left}" + (f" ({curves})" if curves else ""), now)

    def working(self, what: str, done: int, total: int | None) -> None:
        """Other work goes on, such as the encoding of questions."""
        self._say(f"{what}: {done:,} of {total:,}" if total else f"{what}: {done:,}", self.clock())

    def _say(self, line: str, now: float) -> None:
        if now >= self.next:
            self.next = now + EVERY
            self.console.print(terminal.printable(line), markup=False, soft_wrap=True, highlight=False)
