"""How ``eos`` ends when something is wrong: one line on stderr and an exit code, never a traceback."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from typing import Any

import typer

from eos_platform.common import console as terminal
from eos_platform.common.boundary import EXIT_BAD_INPUT, report_error
from eos_platform.common.errors import brief

EXIT_INTERRUPTED = 130
# typer carries a click of its own since 0.26 and took the installed one before: what all usage errors of either share
UsageError: Any = typer.BadParameter.__base__
ClickException: Any = UsageError.__base__
_SIGNALS = (typer.Exit, typer.Abort, ClickException, BrokenPipeError)


class Commands(typer.core.TyperGroup):
    """Bad input is one line on stderr and exit code 2; an unexpected error is one line and exit code 1."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        _unwrap(self)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        ignored = (args, prog_name, complete_var)
        if not standalone_mode:
            return super().main(*ignored, standalone_mode=False, windows_expand_args=windows_expand_args, **extra)
        try:
            done = super().main(*ignored, standalone_mode=False, windows_expand_args=windows_expand_args, **extra)
        except ClickException as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                error.show()
            else:
                terminal.say(_line(error), stderr=True)
            sys.exit(error.exit_code)
        except typer.Abort:
            terminal.say("eos: stopped", stderr=True)
            sys.exit(EXIT_INTERRUPTED)
        sys.exit(done if isinstance(done, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except _SIGNALS:
            raise
        except KeyboardInterrupt:
            terminal.say("eos: stopped", stderr=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except BaseException as error:
            raise typer.Exit(report_error(error)) from None


def _unwrap(command: Any) -> None:
    """Join the lines of each paragraph of the help: typer keeps the source's line ends from the second one on."""
    if command.help:
        paragraphs = inspect.cleandoc(command.help).split("\n\n")
        command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    for one in getattr(command, "commands", {}).values():
        _unwrap(one)


def _line(error: Any) -> str:
    """A misspelt option or a value that is none: what is wrong, and where to read what is right."""
    text = brief(" ".join(error.format_message()[:2000].split()), 200).rstrip(".")
    path = error.ctx.command_path if getattr(error, "ctx", None) is not None else "eos"
    return f"eos: {text[:1].lower()}{text[1:]}; see: {path} --help"


__all__ = ["EXIT_BAD_INPUT", "EXIT_INTERRUPTED", "Commands"]
