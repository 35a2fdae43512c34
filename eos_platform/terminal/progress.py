"""What a person sees while a study runs: a live board in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from optuna.trial import FrozenTrial
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from eos_platform.common import console as terminal
from eos_platform.objectives import COSTS, DEFAULT, told
from eos_platform.protocols import Objective
from eos_platform.tasks.data.progress import telling
from eos_platform.tracking.rows import TrialRow

SHOWN = 8  # lines of the front


class Board:
    """Counts, ETA and the front so far.

    Args:
        done: trials finished before this driver started.
        target: trials in all.
        concurrent: searches at a time.
        axes: the study's objectives.
    """

    def __init__(
        self,
        console: Console,
        name: str,
        *,
        done: int,
        target: int,
        concurrent: int,
        axes: Sequence[Objective] = DEFAULT,
    ) -> None:
        self.axes = tuple(axes)
        self.console, self.name = console, name
        self.done, self.target, self.concurrent = done, target, concurrent
        self.failed = 0
        self.ended = 0  # here, by this driver
        self.begun = time.monotonic()
        self.running: dict[int, tuple[int, int]] = {}  # number -> step, steps
        self.front: list[FrozenTrial] = []
        self._live: Live | None = None

    def __enter__(self) -> Board:
        if terminal.draws(self.console):
            self._live = Live(get_renderable=self.render, console=self.console, refresh_per_second=4)
            self._live.__enter__()
        else:
            said = f"{self.name}: {self.done} of {self.target} trials done, {self.concurrent} at a time"
            self.console.print(said, markup=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.__exit__(kind, error, trace)
            self._live = None

    def started(self, number: int) -> None:
        """A search began (or began again, after its worker died)."""
        self.running[number] = (0, 0)

    def step(self, number: int, step: int, steps: int) -> None:
        """A search reported."""
        self.running[number] = (step, steps)

    def note(self, text: str) -> None:
        """A line that stays."""
        self.console.print(Text(text, style="yellow"))

    def finished(self, row: TrialRow, front: Iterable[FrozenTrial]) -> None:
        """A search ended, well or not."""
        self.running.pop(row.number, None)
        self.done += 1
        self.ended += 1
        self.failed += row.state == "failed"
        self.front = list(front)
        if not self._live:
            self.console.print(
                f"[{self.done}/{self.target}] {summary(row, self.axes)}{self._left()}", soft_wrap=True, markup=False
            )
        elif row.state == "failed":
            self.note(summary(row, self.axes))

    def cut_off(self, row: TrialRow) -> None:
        """A search ended for want of something outside it: it does not count."""
        self.running.pop(row.number, None)
        self.note(f"trial {row.number} will be run again: {row.failure}")

    def eta(self) -> float | None:
        """Seconds that remain, from the pace so far and the steps of the searches under way."""
        steps = sum(step / steps for step, steps in self.running.values() if steps)
        worked = self.ended + steps
        if worked < 0.02:
            return None
        pace = (time.monotonic() - self.begun) / worked
        return max(0.0, (self.target - self.done - steps) * pace)

    def _left(self) -> str:
        eta = self.eta()
        return "" if eta is None or self.done >= self.target else f", about {duration(eta)} left"

    def render(self) -> RenderableType:
        """The board."""
        eta = self.eta()
        head = Table.grid(padding=(0, 2))
        counts = f"{self.done} of {self.target} done, {len(self.running)} running"
        failed = Text(f"{self.failed} failed", style="red" if self.failed else "dim")
        left = "estimating time left" if eta is None else f"about {duration(eta)} left"
        head.add_row(Text(self.name, style="bold"), counts, failed, Text(left, style="dim"))
        searches = Table.grid(padding=(0, 2))
        for number, (step, steps) in sorted(self.running.items()):
            bar = ProgressBar(total=steps or 1, completed=step, width=30)
            searches.add_row(f"trial {number}", bar, f"step {step} of {steps}" if steps else "starting")
        return Group(head, searches, front_table(self.front[-SHOWN:], self.axes) if self.front else Text(""))


_CURVES = {
    "loss": "loss",
    "soft_compute_ratio": "soft compute ratio",
    "soft_cost": "soft cost",
    "accuracy": "deployed accuracy",
}


@contextmanager
def search_bar(console: Console, steps: int) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """A bar with ETA for one search; gives the report callback that moves it."""
    columns = (TextColumn("searching"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    curves = TextColumn("{task.description}", markup=False)
    with Progress(*columns, curves, console=console, transient=True, disable=not terminal.draws(console)) as bar:
        task = bar.add_task("", total=steps)

        def report(step: int, values: dict[str, float]) -> None:
            said = [f"{shown} {values[name]:.3g}" for name, shown in _CURVES.items() if name in values]
            bar.update(task, completed=step, description=", ".join(said))

        def tell(what: str, done: int, total: int | None) -> None:
            if done % 16 == 0 or done == total:
                bar.update(task, description=f"{what}: {done:,} of {total:,}" if total else f"{what}: {done:,}")

        with telling(tell):
            yield report


def front_table(front: Iterable[FrozenTrial], axes: Sequence[Objective] = DEFAULT) -> Table:
    """The front so far, the best in the second objective (by default the cheapest) first."""
    table = Table(title="best so far (validation)", title_justify="left", box=None, padding=(0, 2))
    tokens = () if COSTS["mean_tokens"] in axes else (COSTS["mean_tokens"],)
    for column in ("trial", *(one.label for one in (*axes, *tokens))):
        table.add_column(column, justify="right")
    for trial in front:
        measured = trial.user_attrs.get("measured", {})
        cells = [f"{value:{one.format}}" for one, value in zip(axes, trial.values, strict=True)]
        cells += [f"{measured[one.metric]:{one.format}}" if one.metric in measured else "" for one in tokens]
        table.add_row(str(trial.number), *cells)
    return table


def summary(row: TrialRow, axes: Sequence[Objective] = DEFAULT) -> str:
    """One trial in one line."""
    if row.state == "complete":
        measured = row.measured
        return (
            f"trial {row.number}: {told(axes, measured)} "
            f"(budget {row.params.get('budget', math.nan):g}), {duration(measured.get('seconds', 0.0))}"
            + (f", infeasible: {row.notes['violated']}" if "violated" in row.notes else "")
        )
    if row.state == "pruned":
        return f"trial {row.number}: stopped early" + (f" ({why})" if (why := row.notes.get("stopped")) else "")
    return f"trial {row.number}: {row.state}: {row.failure or 'no reason known'}"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
