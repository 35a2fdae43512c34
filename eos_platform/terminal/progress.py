"""What a person sees while a study runs: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

from optuna.trial import FrozenTrial
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from eos_platform.common import console as terminal
from eos_platform.costs.quantity import shown_quantity
from eos_platform.costs.registry import COMPUTE
from eos_platform.costs.registry import COSTS as REGISTERED
from eos_platform.objectives import COSTS, DEFAULT
from eos_platform.protocols import Objective, describe_values
from eos_platform.terminal.eta import Eta, Work
from eos_platform.terminal.eta import duration as duration
from eos_platform.terminal.search_bar import search_bar as search_bar
from eos_platform.tracking.rows import TrialRow

SHOWN = 8  # lines of the front


class ProgressDisplay:
    """Counts, ETA and the front so far.

    Args:
        done: trials finished before this driver started.
        target: trials in all.
        concurrent: searches at a time.
        axes: the study's objectives.
        work: what is asked beside the steps, the comparison at the end with it.
        clock: seconds.
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
        work: Work | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.left = Eta(target - done, concurrent, work, clock)
        self.axes = tuple(axes)
        self.console, self.name = console, name
        self.done, self.target, self.concurrent = done, target, concurrent
        self.failed = 0
        self.running: dict[int, tuple[int, int]] = {}  # number -> step, steps
        self.front: list[FrozenTrial] = []
        self._live: Live | None = None

    def __enter__(self) -> ProgressDisplay:
        if terminal.draws(self.console):
            self._live = Live(get_renderable=self.render, console=self.console, refresh_per_second=4)
            self._live.__enter__()
        else:
            text = f"{self.name}: {self.done} of {self.target} trials done, {self.concurrent} at a time"
            self.console.print(text, markup=False)
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
        self.left.started(number)

    def step(self, number: int, step: int, steps: int) -> None:
        """A search reported."""
        self.running[number] = (step, steps)
        self.left.step(number, step, steps)

    def note(self, text: str) -> None:
        """A line that stays."""
        self.console.print(Text(text, style="yellow"))

    def finished(self, row: TrialRow, front: Iterable[FrozenTrial]) -> None:
        """A search ended, well or not."""
        self.running.pop(row.number, None)
        self.left.ended(row.number, whole=row.state == "complete")
        self.done += 1
        self.failed += row.state == "failed"
        self.front = list(front)
        if not self._live:
            self.console.print(
                f"[{self.done}/{self.target}] {summary(row, self.axes)}{self._left()}", soft_wrap=True, markup=False
            )
        elif row.state == "failed":
            self.note(summary(row, self.axes))

    def interrupted(self, row: TrialRow) -> None:
        """A search ended for want of something outside it: it does not count."""
        self.running.pop(row.number, None)
        self.left.ended(row.number, counts=False, whole=False)
        self.note(f"trial {row.number} will be run again: {row.failure}")

    def eta(self) -> float | None:
        """Seconds that remain, with the comparison at the end."""
        return self.left.seconds()

    def _left(self) -> str:
        eta = self.eta()
        return "" if not eta else f", about {duration(eta)} left"

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


def front_table(front: Iterable[FrozenTrial], axes: Sequence[Objective] = DEFAULT) -> Table:
    """The front so far, the best in the second objective (by default the cheapest) first."""
    table = Table(title="best so far (validation)", title_justify="left", box=None, padding=(0, 2))
    tokens = () if COSTS["mean_tokens"] in axes else (COSTS["mean_tokens"],)
    for column in ("trial", *(one.label for one in (*axes, *tokens))):
        table.add_column(column, justify="right")
    for trial in front:
        measured = trial.user_attrs.get("measured", {})
        cells = [one.show(value) for one, value in zip(axes, trial.values, strict=True)]
        cells += [one.show(measured[one.metric]) if one.metric in measured else "" for one in tokens]
        table.add_row(str(trial.number), *cells)
    return table


def _budget(row: TrialRow) -> str:
    """A trial's budget, and what its operator costs where that is not the compute ratio: ``8 ms, used 7.9 ms``."""
    budget, name = row.params.get("budget", math.nan), row.params.get("cost", COMPUTE)
    if name == COMPUTE or name not in REGISTERED:
        return f"{budget:g}"
    cost, used = REGISTERED[name], row.measured.get(name)
    return shown_quantity(budget, cost) + ("" if used is None else f", used {shown_quantity(used, cost)}")


def summary(row: TrialRow, axes: Sequence[Objective] = DEFAULT) -> str:
    """One trial in one line."""
    if row.state == "complete":
        measured, budget = row.measured, _budget(row)
        return (
            f"trial {row.number}: {describe_values(axes, measured)} "
            f"(budget {budget}), {duration(measured.get('seconds', 0.0))}"
            + (f", infeasible: {row.notes['violated']}" if "violated" in row.notes else "")
        )
    if row.state == "pruned":
        return f"trial {row.number}: stopped early" + (f" ({why})" if (why := row.notes.get("stopped")) else "")
    return f"trial {row.number}: {row.state}: {row.failure or 'no reason known'}"
