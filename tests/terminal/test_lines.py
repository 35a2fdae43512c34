import io

import pytest
from rich.console import Console

from eos_platform.tasks.data.progress import counted
from eos_platform.terminal import data_bar as bars
from eos_platform.terminal.lines import EVERY, FIRST, Lines
from eos_platform.terminal.search_bar import search_bar


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_search_in_a_log_tells_every_half_minute_how_far_it_is():
    stream, clock = io.StringIO(), Clock()
    with search_bar(Console(file=stream, width=200), 100, clock=clock) as report:
        for number in counted("encoding questions", range(10), 10):
            clock.now = FIRST if number == 6 else 1.0
        for step in range(1, 101):
            clock.now += 2
            report(step, {"loss": 0.5})
    first, *rest = stream.getvalue().splitlines()
    assert first == "encoding questions: 7 of 10, about 2 s left"
    assert rest[0] == "search steps: 17 of 100, about 3 min left (loss 0.5)"
    assert len(rest) == int(200 // EVERY)


@pytest.mark.parametrize("options", [{"lines": False}, {}])
def test_a_short_or_silent_search_says_nothing(options):
    stream, clock = io.StringIO(), Clock()
    with search_bar(Console(file=stream), 100, clock=clock, **options) as report:
        report(1, {})
        clock.now = 1000.0 if options else FIRST - 1
        report(2, {})
    assert stream.getvalue() == ""


def test_long_work_over_data_is_told_on_stderr(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(bars, "Lines", lambda console: Lines(console, clock))
    with bars.data_bar(Console(file=io.StringIO())):
        for _ in counted("reading rows", range(4)):
            clock.now += 3
    with bars.asking_bar(Console(file=io.StringIO())) as tell:
        clock.now += FIRST
        tell("[b]pope", 3, 9)
    assert capsys.readouterr() == ("", "reading rows: 2\n[b]pope: 3 of 9\n")
