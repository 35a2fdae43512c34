"""Where libraries meet bad input: whatever they raise becomes one line, and ``EOS_DEBUG=1`` shows where it came from.

Exit codes of every command: 0 done, 2 bad input (an ``EosError``), 130 stopped by Ctrl-C, and 1 for an error that
nobody foresaw, which is a defect of this package.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError, redact
from eos_platform.common.printable import printable

EXIT_UNFORESEEN, EXIT_BAD_INPUT = 1, 2
DEBUG = "EOS_DEBUG"
WORDS = 160  # characters of a library's own words


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn any exception of the block into ``what: the library's words``; an ``EosError`` passes as it is.

    For blocks in which a library reads what a person gave: a model's folder, a store, a file format. A defect of ours
    inside such a block is told as bad input too, so keep it small.

    Raises:
        EosError: the block failed; the exception is its cause.
    """
    try:
        yield
    except EosError:
        raise
    except BaseException as error:
        if not _is_error(error):
            raise
        raise EosError(f"{what}: {error_text(error)}") from error


def error_text(error: BaseException) -> str:
    """What an exception says, in at most ``WORDS`` characters: its first line, or its kind where it says nothing."""
    try:
        text = str(error)[:2000].strip()
    except Exception:  # one whose words cannot be made
        text = ""
    if isinstance(error, OSError) and error.strerror:  # without its number
        text = error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"
    if isinstance(error, KeyError) and error.args:
        text = f"nothing is called {text}"
    lines = [line.strip() for line in text.splitlines() if any(map(str.isalnum, line))]
    if not lines:
        return _kind(error)
    first = lines[0] + (f" {lines[1]}" if len(lines) > 1 and lines[0].endswith(":") else "")
    first = first if " " in first else f"{_kind(error)}: {first}"
    first = printable(redact(first))
    return first if len(first) <= WORDS else first[: WORDS - 3] + "..."


def report_error(error: BaseException, program: str = "eos") -> int:
    """Say on stderr, in one line, what ended a command.

    Returns:
        the exit code.

    Raises:
        BaseException: ``error`` itself, where it is no error but a signal (Ctrl-C, an exit).
    """
    if not _is_error(error):
        raise error
    if os.environ.get(DEBUG, "") not in ("", "0"):
        _unhide(error)
        terminal.say("".join(traceback.format_exception(error)).rstrip(), stderr=True)
    if isinstance(error, EosError):
        terminal.say(f"{program}: {error}", stderr=True)
        return EXIT_BAD_INPUT
    line = f"{program}: unexpected {_kind(error)}: {error_text(error)} ({DEBUG}=1 shows the traceback)"
    terminal.say(line, stderr=True)
    return EXIT_UNFORESEEN


def _kind(error: BaseException) -> str:
    return type(error).__name__


def _is_error(error: BaseException) -> bool:
    """Panics of Rust libraries (tokenizers, safetensors) are no ``Exception``."""
    return isinstance(error, Exception) or _kind(error) == "PanicException"


def _unhide(error: BaseException | None) -> None:
    """Let the traceback show what ``raise ... from None`` hid."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.__suppress_context__ = error.__cause__ is not None
        error = error.__cause__ or error.__context__
