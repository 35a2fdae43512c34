"""Progress of a study's final comparison: a bar in a terminal, a few lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from eos_platform.common import console as terminal
from eos_platform.terminal.progress import duration

PARTS = 4  # lines that are printed where no bar can be drawn, about


@contextmanager
def final_bar(
    console: Console, name: str, operators: int, questions: int, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[], None]]:
    """Gives what to call when an operator has been asked."""
    if terminal.draws(console):
        columns = (TextColumn("held-out questions"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            line = bar.add_task("", total=operators)
            yield lambda: bar.advance(line)
        return
    begun, done = clock(), 0
    console.print(
        f"{name}: final comparison, {operators} operators on {questions:,} held-out questions each", markup=False
    )

    def advance() -> None:
        nonlocal done
        done += 1
        if done * PARTS // operators > (done - 1) * PARTS // operators and done < operators:
            left = (clock() - begun) / done * (operators - done)
            console.print(f"[{done}/{operators}] held-out, about {duration(left)} left", markup=False)

    yield advance
