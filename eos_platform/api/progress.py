"""Progress of a search in Python: a bar in a terminal, another in a notebook, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from eos_platform.common import console as terminal
from eos_platform.search.run import Report
from eos_platform.terminal.search_bar import curves_told, search_bar

OFTEN = 0.2  # seconds between two changes of a notebook's bar


@contextmanager
def shown_progress(steps: int, quiet: bool) -> Iterator[Report | None]:
    """The report callback that moves the bar; None: there is none."""
    if quiet:
        yield None
    elif in_notebook():
        bar = NotebookBar(steps)
        try:
            yield bar
        finally:
            bar.close()
    else:
        with search_bar(terminal.console(stderr=True), steps, lines=False) as report:
            yield report


def in_notebook() -> bool:
    """Whether this runs in a notebook's kernel."""
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class NotebookBar:
    """The browser's own progress element, updated in place; needs no widgets."""

    def __init__(self, steps: int) -> None:
        from IPython.display import HTML, display

        self.steps, self.begun, self.last = steps, time.monotonic(), 0.0
        self._html = HTML
        self._shown = display(HTML(self.html(0, "encoding questions")), display_id=True)

    def __call__(self, step: int, curves: dict[str, float]) -> None:
        """A step was made."""
        now = time.monotonic()
        if now - self.last >= OFTEN or step == self.steps:
            self.last = now
            self._shown.update(self._html(self.html(step, curves_told(curves))))

    def html(self, step: int, reported: str) -> str:
        """The bar, what is told beside it."""
        bar = f'<progress value="{step}" max="{self.steps}"></progress>'
        return f"<div>searching {bar} {step} of {self.steps} steps, {escape(reported)}</div>"

    def close(self) -> None:
        """Leave one line."""
        seconds = time.monotonic() - self.begun
        self._shown.update(self._html(f"<div>search ended after {seconds:.0f} s</div>"))
