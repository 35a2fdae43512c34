"""Everything that is printed goes through here: what cannot be printed never ends the work.

The reader of a pipe may leave (``| head -1``), the disk under a log may fill up (``/dev/full``), a terminal may be
closed, or may not know the characters (``PYTHONIOENCODING=ascii``). Then the output is lost and the work goes on.

- ``console()`` is rich's console on such a stream: nothing in the text is markup, control characters are shown as
  letters. ``say()`` prints a line where rich need not be installed.
- ``run(main)`` is what every command is started by. It exits with the command's own code, except that a command whose
  output was lost for want of space, and whose result is nowhere else (``stored()``), leaves with 1. A reader that went
  away is no failure.
- A terminal that is closed (SIGHUP) stops a command in order, as Ctrl-C does; under ``nohup`` it goes on.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, cast

from eos_platform.common.printable import lines_of, printable

if TYPE_CHECKING:
    from rich.console import Console

EXIT_LOST, EXIT_INTERRUPTED = 1, 130
NARROWEST = 40  # columns; a narrower terminal wraps lines by itself, where rich would leave tables empty
_LEFT = {errno.EPIPE, errno.EIO, errno.EBADF, errno.ECONNRESET}  # nobody is there to read
# of one column each, so that tables and bars stay in line
_ASCII = str.maketrans("█▉▊▋▌▍▎▏·…→←−–—‘’“”×═─│━┃╸╺•", "######--..><---''\"\"x=-|-|--*")


class Tolerant:
    """A text stream that loses what cannot be written instead of raising.

    Args:
        find: gives the stream now (``sys.stdout`` may be replaced meanwhile), or None where it is closed.
    """

    def __init__(self, find: Callable[[], TextIO | None]) -> None:
        self._find = find
        self.lost: OSError | None = None  # why, once something was

    @property
    def stream(self) -> TextIO | None:
        """The stream itself, not rich's stand-in for it while a live display is up."""
        stream = self._find()
        return getattr(stream, "rich_proxied_file", stream)

    def write(self, text: str) -> int:
        """Write what can be written."""
        self._attempt(lambda stream: stream.write(text), lambda stream: stream.write(in_encoding(text, stream)))
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        self._attempt(lambda stream: stream.flush())

    def writelines(self, lines: list[str]) -> None:
        """Write all of them."""
        for line in lines:
            self.write(line)

    def _attempt(self, act: Callable[[TextIO], Any], otherwise: Callable[[TextIO], Any] | None = None) -> None:
        stream = self.stream
        if stream is None:
            return
        try:
            act(stream)
        except UnicodeError:
            if otherwise is not None:
                self._attempt(otherwise)
        except OSError as error:
            self.lost = self.lost or error
        except ValueError:  # closed within Python
            self.lost = self.lost or OSError(errno.EBADF, os.strerror(errno.EBADF))

    def isatty(self) -> bool:
        """Whether somebody looks on."""
        try:
            return self.stream is not None and self.stream.isatty()
        except (OSError, ValueError):
            return False

    def fileno(self) -> int:
        """The file descriptor, where there is one."""
        if self.stream is None:
            raise io.UnsupportedOperation("closed")
        return self.stream.fileno()

    @property
    def encoding(self) -> str:
        """Of the stream."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    def __getattr__(self, name: str) -> Any:
        if name in ("buffer", "_find", "lost"):  # what is written to the bytes beneath would raise again
            raise AttributeError(name)
        return getattr(self.stream, name)


def in_encoding(text: str, stream: TextIO) -> str:
    """``text`` in the characters that ``stream`` has: the nearest one, else a question mark."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    return "".join(_known(character, encoding) for character in text)


def _known(character: str, encoding: str) -> str:
    for form in (character, character.translate(_ASCII), unicodedata.normalize("NFKD", character)[:1]):
        try:
            form.encode(encoding)
        except UnicodeError:
            continue
        return form
    return "?"


def console(*, stderr: bool = False, **options: Any) -> Console:
    """Rich's console on a tolerant stream; text is shown as it is, without markup, colours by guess, or control codes.

    Args:
        options: of ``rich.console.Console``.
    """
    from rich.console import Console
    from rich.segment import Segment

    class Plain(Console):
        def render(self, renderable: Any, options: Any = None) -> Any:
            for segment in super().render(renderable, options):
                if segment.control or (segment.text.isascii() and segment.text.isprintable()):
                    yield segment
                else:
                    yield Segment(lines_of(segment.text), segment.style)

    file = Tolerant(lambda: sys.stderr) if stderr else Tolerant(lambda: sys.stdout)
    given = {"file": cast(TextIO, file), "markup": False, "highlight": False, "emoji": False, **options}
    made = Plain(stderr=stderr, **given)
    if made.width < NARROWEST:
        made.width = NARROWEST
    return made


def draws(shown: Console) -> bool:
    """Whether a bar can be drawn over itself there: not into a file, on TERM=dumb, or where its lines would wrap."""
    return shown.is_terminal and not shown.is_dumb_terminal and shown.size.width > NARROWEST


def say(*lines: object, stderr: bool = False) -> None:
    """Print plain lines."""
    stream = Tolerant((lambda: sys.stderr) if stderr else (lambda: sys.stdout))
    for line in lines:
        stream.write(lines_of(line) + "\n")
    stream.flush()


_stored = False


def stored() -> None:
    """Note that the command's result is in files by now: what it prints is only about them."""
    global _stored
    _stored = True


def run(main: Callable[[], Any]) -> NoReturn:
    """Run a command and leave with its exit code; see the module for what is done about its output.

    Args:
        main: returns the exit code (none: 0) or leaves by ``SystemExit``.
    """
    _open_standard_streams()
    guarded = []
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        guarded.append(Tolerant(lambda stream=stream: stream))  # type: ignore[misc]
        setattr(sys, name, guarded[-1])
    _hang_up_as_interrupt()
    try:
        code = main()
    except SystemExit as left:
        code = left.code
    except KeyboardInterrupt:
        say("eos: stopped", stderr=True)
        code = EXIT_INTERRUPTED
    if code is not None and not isinstance(code, int):
        say(code, stderr=True)
        code = 1
    sys.exit(_leave(code or 0, *guarded))


def _leave(code: int, out: Tolerant, err: Tolerant) -> int:
    """The exit code, with all output passed on or given up."""
    out.flush()
    if out.lost is not None and out.lost.errno not in _LEFT:
        kept = "; all results are stored" if _stored and not code else ""
        say(f"eos: the output could not be written ({out.lost.strerror or out.lost}){kept}", stderr=True)
        code = code or (0 if _stored else EXIT_LOST)
    err.flush()
    for stream in (out, err):
        if stream.lost is not None:  # what is still in the buffer would be tried again at exit
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


def _open_standard_streams() -> None:
    """Put /dev/null where a standard stream is closed (``>&-``): else the next file opened takes its place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number there is: this one
            if opened == number:
                setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _hang_up_as_interrupt() -> None:
    """Stop in order when the terminal is closed; who started with the signal ignored (nohup) goes on."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, interrupt)


def interrupt(number: int, frame: Any) -> None:
    """A signal's handler that does what Ctrl-C would do now."""
    answer = signal.getsignal(signal.SIGINT)  # Ray Tune's own, while it runs
    if not callable(answer):  # a shell's background jobs are started without one
        raise KeyboardInterrupt
    answer(signal.SIGINT, frame)


__all__ = ["Tolerant", "console", "draws", "interrupt", "printable", "run", "say", "stored"]
