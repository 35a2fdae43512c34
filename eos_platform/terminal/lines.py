"""Progress where no bar can be drawn (into a file, on a dumb terminal): the first line soon, then one now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console

from eos_platform.common import console as terminal
from eos_platform.terminal.eta import duration

FIRST, EVERY = 5.0, 30.0  # seconds until the first line, and between two lines


class Lines:
    """Prints at most a line every half minute, with the time left.

    Args:
        clock: seconds.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self.clock = console, clock
        self.next = clock() + FIRST
        self.begun: dict[str, tuple[float, int]] = {}  # of each kind of work: when it was first told, how much was done

    def tell(self, what: str, done: int, total: int | None, more: str = "") -> None:
        """How far some work is.

        Args:
            what: the work, in words.
            done: pieces done.
            total: pieces in all; None: not known.
            more: told in brackets.
        """
        now = self.clock()
        begun, earlier = self.begun.setdefault(what, (now, done))
        if now < self.next:
            return
        self.next = now + EVERY
        line = f"{what}: {done:,}" + (f" of {total:,}" if total else "")
        if total and done > earlier:
            line += f", about {duration((now - begun) / (done - earlier) * (total - done))} left"
        line += f" ({more})" if more else ""
        self.console.print(terminal.printable(line), markup=False, soft_wrap=True, highlight=False)
