"""One command in a forked child: what it said, how it ended, and what it left behind."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HANG = 20  # seconds of a core; a valid input's own work takes some. However busy the machine, they are the same
STUCK = 600.0  # seconds by the clock, for what waits and does nothing
LONG = 300  # characters of a clear line, the paths of the input aside
ACCEPTED = 77  # exit code of stand-ins for the long work that valid input would begin
VERDICTS = ("clear", "valid", "unclear", "traceback", "hang", "accepted wrongly")


@dataclass
class Case:
    """One malformed input."""

    kind: str
    what: str  # was done to it
    command: list[str]
    names: tuple[str, ...] = ()  # any of which a clear line has
    refuse: bool = False  # whether nothing but a refusal is right
    environment: dict[str, str] = field(default_factory=dict)
    call: Callable[[], Any] | None = None  # instead of a command


@dataclass
class Outcome:
    case: Case
    verdict: str
    code: int | None
    said: str
    left: tuple[str, ...]
    seconds: float


def run(case: Case, folder: Path, stand_ins: Callable[[], None]) -> Outcome:
    """Run the case in ``folder`` and judge it."""
    before = listing(folder)
    out = folder.parent / f"{folder.name}.said"
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(case, folder, out, stand_ins)
    code = _wait(child)
    seconds = time.monotonic() - started
    said = out.read_bytes().decode(errors="replace") if out.exists() else ""
    out.unlink(missing_ok=True)
    left = tuple(sorted(listing(folder) - before))
    return Outcome(case, judge(case, code, said), code, said, left, seconds)


def _child(case: Case, folder: Path, out: Path, stand_ins: Callable[[], None]) -> None:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (HANG, HANG + 5))  # then SIGXCPU
    handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    code = 1
    try:
        os.chdir(folder)
        os.environ.update(case.environment)
        stand_ins()
        if case.call is not None:
            case.call()
            code = 0
        else:
            from eos_platform.cli.app import app

            app(case.command, prog_name="eos")
            code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(code)


def apart(work: Callable[[], None]) -> None:
    """Do something in a child, so that no thread of its stays here to be forked."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError("the originals could not be made")


def _wait(child: int) -> int | None:
    """The exit code; None: it hung."""
    until = time.monotonic() + STUCK
    pause = 0.002
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return None if code == -signal.SIGXCPU else code
        time.sleep(pause)
        pause = min(0.05, pause * 1.5)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def judge(case: Case, code: int | None, said: str) -> str:
    """One of ``VERDICTS``."""
    if code is None:
        return "hang"
    if "Traceback (most recent call last)" in said or "panicked at" in said or code < 0 or "eos: unexpected " in said:
        return "traceback"
    if code in (0, ACCEPTED):
        return "accepted wrongly" if case.refuse else "valid"
    if code == 1 and case.command[:2] == ["study", "check"]:
        return "valid"  # it found differences, which is its work
    lines = [line for line in re.split(r"[\r\n]", said) if line.strip()]
    errors = [line for line in lines if line.startswith("eos: ")]
    if code != 2 or len(lines) != 1 or len(errors) != 1:
        return "unclear"
    line = errors[0]
    if len(line) > LONG or not line.isprintable():
        return "unclear"
    if case.names and not any(name and name in line for name in case.names):
        return "unclear"
    return "clear"


def listing(folder: Path) -> set[str]:
    """Every file below, by name; folders end in a slash."""
    found = set()
    for place, folders, files in os.walk(folder):
        found |= {os.path.relpath(os.path.join(place, name), folder) + "/" for name in folders}
        found |= {os.path.relpath(os.path.join(place, name), folder) for name in files}
    return found


def clear(folder: Path) -> None:
    """Take the folder away."""
    shutil.rmtree(folder, ignore_errors=True)
