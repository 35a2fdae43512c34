"""How far measuring is: a bar with time left and the best so far where rich is there, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Any

from eos_platform.analysis.comparison.measure import Record
from eos_platform.common import console as terminal
from eos_platform.common.printable import NAME


class Lines:
    """One line a record, on stderr."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done, self.here = total, done, 0
        self.begun = time.monotonic()
        self.best: dict[float, Record] = {}

    def __enter__(self) -> Lines:
        if self.done:
            self.say(f"{self.done} of {self.total} measured earlier")
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def working(self, name: str, detail: str = "") -> None:
        """What is being measured now."""

    def finished(self, record: Record) -> None:
        """One more is done."""
        self.done, self.here = self.done + 1, self.here + 1
        self._note(record)
        left = (self.total - self.done) * (time.monotonic() - self.begun) / self.here
        self.say(f"[{self.done}/{self.total}] {line(record)}" + (f", about {left:.0f} s left" if left else ""))

    def say(self, text: str) -> None:
        """A line that stays."""
        terminal.say(text, stderr=True)

    def _note(self, record: Record) -> None:
        ratio = record.get("ratio")
        if record["status"] == "measured" and ratio is not None:
            best = self.best.get(ratio)
            if best is None or record["accuracy"] > best["accuracy"]:
                self.best[ratio] = record

    def leader(self) -> str:
        """The best at the ratio of the latest record."""
        if not self.best:
            return ""
        record = self.best[list(self.best)[-1]]
        return f"best at {record['ratio']:g}: {terminal.printable(record['name'], NAME)} {record['accuracy']:.1%}"


class Bar(Lines):
    """The same with a live bar."""

    def __init__(self, total: int, done: int, console: Any) -> None:
        super().__init__(total, done)
        self.console = console

    def __enter__(self) -> Bar:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns: tuple[Any, ...] = (BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(
            *columns, TextColumn("{task.description}", markup=False), console=self.console, transient=True
        )
        self.bar.start()
        self.task = self.bar.add_task("", total=self.total, completed=self.done)
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def working(self, name: str, detail: str = "") -> None:
        shown = "  ".join(part for part in (name, detail, self.leader()) if part)
        self.bar.update(self.task, description=terminal.printable(shown))

    def finished(self, record: Record) -> None:
        self.done, self.here = self.done + 1, self.here + 1
        self._note(record)
        self.bar.update(self.task, completed=self.done)
        self.say(line(record))

    def say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)


def make_progress(total: int, done: int) -> Lines:
    """A bar in a terminal that rich can draw in."""
    try:
        console = terminal.console(stderr=True)
    except ImportError:
        return Lines(total, done)
    return Bar(total, done, console) if terminal.draws(console) else Lines(total, done)


def line(record: Record) -> str:
    """A record in one line."""
    name = terminal.printable(record["name"], NAME)
    if record["status"] != "measured":
        return f"{name}: {record['reason']}"
    text = f"{name}: {record['accuracy']:.1%} at compute ratio {record['compute_ratio']:.3f}"
    text += f", {record['mean_tokens']:.0f} tokens, prefill {record['prefill_ms']:.1f} ms"
    if "tuning" in record:
        tuning = record["tuning"]
        text += f", {tuning['trials']} trials x {tuning['questions']} questions: " + (
            knobs_text(record["knobs"]) or "-"
        )
    return text


def knobs_text(knobs: dict[str, Any]) -> str:
    """``layer=2, share=.3``."""
    return ", ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in knobs.items()
    )
