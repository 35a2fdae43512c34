"""Output that cannot be written never ends the work: pipes that close, full disks, ASCII, closed streams, hang-ups."""

import errno
import io
import os
import pty
import signal
import subprocess
import sys
import time

import pytest
from rich.progress import Progress

from eos_platform.common import console as terminal
from eos_platform.common.console import Tolerant
from eos_platform.terminal.tables import plain_table

ASCII = {"PYTHONIOENCODING": "ascii"}


def python(code, shell="{command}", **environment):
    """Run ``code`` as ``terminal.run`` would a command, in a shell that does something about its streams."""
    body = f"from eos_platform.common import console as terminal\ndef main():\n{code}\nterminal.run(main)"
    command = shell.format(command='"$PYTHON" -c "$CODE"')
    env = {**os.environ, "PYTHON": sys.executable, "CODE": body, **environment}
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=env, timeout=600, check=False)


MANY = "    for line in range(5000): terminal.say('line')\n    open('done', 'w').close()\n    terminal.{then}"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("shell", "then", "code", "says"),
    [
        ("{command} | head -1; exit ${{PIPESTATUS[0]}}", "say()", 0, ""),
        ("{command} > /dev/full", "say()", 1, "eos: the output could not be written (No space left on device)\n"),
        (
            "{command} > /dev/full",
            "stored()",
            0,
            "eos: the output could not be written (No space left on device); all results are stored\n",
        ),
        ("{command} 2> /dev/full > /dev/full", "stored()", 0, ""),
        ("{command} >&-", "say()", 0, ""),
        ("{command} >&- 2>&- <&-", "say()", 0, ""),
    ],
)
def test_the_work_is_done_whatever_becomes_of_the_output(tmp_path, shell, then, code, says):
    done = python(MANY.format(then=then), shell)
    assert (done.returncode, done.stderr) == (code, says)
    assert (tmp_path / "done").exists()


def test_the_exit_code_of_the_work_comes_before_that_of_its_output():
    assert python("    terminal.say('x')\n    raise SystemExit(2)", "{command} > /dev/full").returncode == 2
    assert python("    raise SystemExit('no')").stderr == "no\n"


def test_a_file_opened_later_does_not_take_the_place_of_a_closed_stream(tmp_path):
    code = "    import os\n    f = open('data', 'w')\n    terminal.say('text')\n    os.write(1, b'x')\n    f.close()"
    assert python(code, "{command} >&-").returncode == 0
    assert (tmp_path / "data").read_text() == ""


def test_characters_the_terminal_does_not_have_are_shown_as_near_ones():
    code = "    terminal.say('██▌·→ größer 日本')\n    terminal.console().print('█ …')"
    assert python(code, **ASCII).stdout == "###.> grosser ??\n# .\n".replace("ss", "?")
    latin = python(code, "{command} | iconv -f latin1", PYTHONIOENCODING="latin-1")
    assert latin.stdout.startswith("###·> größer")


def test_tables_bars_and_help_in_ascii():
    code = (
        "    from rich.progress import track\n"
        "    console = terminal.console(force_terminal=True)\n"
        "    list(track(range(3), console=console))\n"
        "    from rich.table import Table\n"
        "    table = Table('n'); table.add_row('größer █'); console.print(table)"
    )
    done = python(code, **ASCII)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()


class Failing(io.StringIO):
    """A stream on which every write fails."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, *text):
        raise self.error

    flush = isatty = write


@pytest.mark.parametrize(
    "error", [BrokenPipeError(errno.EPIPE, "x"), OSError(errno.EIO, "x"), OSError(errno.ENOSPC, "x"), ValueError("x")]
)
def test_rich_and_plain_output_on_streams_that_fail(monkeypatch, error):
    monkeypatch.setattr(sys, "stdout", Failing(error))
    monkeypatch.setattr(sys, "stderr", Failing(error))
    for stderr in (False, True):
        console = terminal.console(stderr=stderr)
        console.print("text")
        with Progress(console=console) as bar:
            bar.advance(bar.add_task("working", total=2))
        with console.status("working"):
            pass
        terminal.say("text", stderr=stderr)


def test_a_live_display_draws_over_itself_and_prints_once(monkeypatch):
    out = io.StringIO()
    out.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("TERM", "xterm")
    console = terminal.console(width=60)
    assert terminal.draws(console)
    with Progress(console=console, transient=True) as bar:
        bar.add_task("working", total=2)
        print("from elsewhere")
        console.print("from here")
    assert out.getvalue().count("from elsewhere") == out.getvalue().count("from here") == 1


@pytest.mark.parametrize(("term", "columns"), [("dumb", "80"), ("xterm", "20"), ("xterm", "1")])
def test_nothing_is_drawn_where_it_could_not_be_drawn_over(monkeypatch, term, columns):
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("COLUMNS", columns)
    console = terminal.console(force_terminal=True)
    assert not terminal.draws(console)
    assert console.width >= 40


def test_no_color_is_kept_to(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    console = terminal.console(file=io.StringIO(), force_terminal=True)
    console.print("text", style="red")
    assert "31m" not in console.file.getvalue()


def test_text_is_no_markup_and_holds_no_control_codes():
    console = terminal.console(file=io.StringIO(), force_terminal=True, width=200)
    table = plain_table("\x1b]0;title\x07", left=("[red]head",))
    table.add_row("\x1b[2J :smile: [link=http://x]y[/link]")
    console.print("[bold]name[/bold]\x1b[31m\u202e")
    console.print(table)
    shown = console.file.getvalue()
    for words in (r"[bold]name[/bold]\x1b[31m\u202e", "[red]head", r"\x1b[2J :smile: [link=http://x]y[/link]"):
        assert words in shown
    for code in ("\x1b[31m", "\x1b[2J", "\x1b]", "\u202e", "\x07"):
        assert code not in shown


def test_streams_replaced_later_are_found(monkeypatch):
    console, out = terminal.console(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    console.print("here")
    assert out.getvalue() == "here\n"
    monkeypatch.setattr(sys, "stdout", None)
    console.print("nowhere")
    terminal.say("nowhere")
    assert not Tolerant(lambda: None).isatty()


HANG_UP = """\
    import sys, time
    try:
        open('begun', 'w').close()
        time.sleep(30)
    except KeyboardInterrupt:
        terminal.say('stopping')
        open('stopped', 'w').close()
        raise"""


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_closes_stops_in_order_unless_told_otherwise(tmp_path, ignored):
    waits = HANG_UP.replace("30", "1" if ignored else "30")
    body = f"from eos_platform.common import console as terminal\ndef main():\n{waits}\n"
    process, ours = pty.fork()
    if not process:
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)  # tests may run under nohup
        os.execv(sys.executable, [sys.executable, "-c", body + "terminal.run(main)"])
    deadline = time.monotonic() + 30
    while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.close(ours)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code == (0 if ignored else 130)
    assert (tmp_path / "stopped").exists() == (not ignored)
