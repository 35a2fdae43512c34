"""How commands end: usage errors, defects, Ctrl-C."""

import re

import pytest
import typer
from typer.testing import CliRunner

from eos_platform.cli import app as cli
from eos_platform.cli.errors import Commands
from eos_platform.common.errors import EosError

RUNNER = CliRunner()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["search", "--budgt", "3"], "no such option: --budgt"),
        (["serch"], "no such command 'serch'. Did you mean 'search'"),
        (["evaluate", "--questions", "0"], "invalid value for '--questions'"),
        (["evaluate", "--questions", "9" * 6000], "invalid value for '--questions'"),
        (["report"], "missing argument"),
        (["designs", "\x1b[31mextra"], "got unexpected extra argument(s) ("),
        (["study", "run"], "missing argument"),
    ],
)
def test_a_misused_command_is_one_line(words, says):
    done = RUNNER.invoke(cli.app, words)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"eos: {says}")
    assert line.endswith(" --help")
    assert len(line) <= 300


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (EosError("bad file"), 2, "eos: bad file\n"),
        (KeyError("x"), 1, "eos: unexpected KeyError: nothing is called 'x' (EOS_DEBUG=1 shows the traceback)\n"),
        (MemoryError(), 1, "eos: unexpected MemoryError: MemoryError (EOS_DEBUG=1 shows the traceback)\n"),
        (KeyboardInterrupt(), 130, "eos: stopped\n"),
        (typer.Exit(3), 3, ""),
    ],
)
def test_every_end_has_its_exit_code(error, code, says):
    app = typer.Typer(cls=Commands)

    @app.command()
    def one() -> None:
        raise error

    @app.command()
    def other() -> None:
        pass

    done = RUNNER.invoke(app, ["one"])
    assert (done.exit_code, done.stderr) == (code, says)
    assert RUNNER.invoke(app, ["other"]).exit_code == 0


def helps(command, path=()):
    yield path, command.help or ""
    for one in command.params:
        yield (*path, one.name), getattr(one, "help", None) or ""
    for name, one in getattr(command, "commands", {}).items():
        yield from helps(one, (*path, name))


HELPS = dict(helps(typer.main.get_command(cli.app)))


def test_help_is_whole():
    """Square brackets are markup there: those meant as such are escaped, or they vanish."""
    for path, text in HELPS.items():
        assert set(re.findall(r"(?<!\\)\[[^\]]*\]", text)) <= {"[bold]", "[/bold]"}, path
        assert not re.search(r"(?<!\n)\n(?!\n)", text), path  # a paragraph is wrapped where the terminal ends
    assert "'eos-platform[lmms]'" in RUNNER.invoke(cli.app, ["lmms", "--help"]).output
