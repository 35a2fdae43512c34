"""A warm process that forks: libraries are imported once, the package anew in every child."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

OURS = ("eos_platform", "tests", "conftest")


def warm(modules: Iterable[str], scratch: Path) -> None:
    """Imports the libraries that ``modules`` import, but nothing of the package itself."""

    def look() -> int:
        before = set(sys.modules)
        for name in modules:
            importlib.import_module(name)
        (scratch / "libraries").write_text("\n".join(name for name in sys.modules if name not in before))
        return 0

    run_all([("warm", look, 300.0)], 1, lambda name, code, seconds: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in (scratch / "libraries").read_text().splitlines():
            if name.split(".")[0] not in OURS:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
        import torch

        torch.set_num_threads(1)
    # found in a checkout through the folder it lies in
    sys.path[:] = [entry for entry in sys.path if entry]


def run_all(
    work: Iterable[tuple[str, Callable[[], int], float]], jobs: int, done: Callable[[str, int | None, float], None]
) -> None:
    """Runs each (name, function, seconds allowed) in a process of its own, ``jobs`` at a time.

    ``done`` is told the name, the exit status (None where time ran out), and the seconds it took.
    """
    waiting, running = iter(work), {}
    try:
        while True:
            while len(running) < jobs and (entry := next(waiting, None)):
                name, function, allowed = entry
                running[_fork(function)] = (name, time.monotonic(), allowed)
            if not running:
                return
            for pid, (name, began, allowed) in list(running.items()):
                ended, status = os.waitpid(pid, os.WNOHANG)
                seconds = time.monotonic() - began
                if ended or seconds > allowed:
                    _end(pid, reap=not ended)
                    del running[pid]
                    done(name, os.waitstatus_to_exitcode(status) if ended else None, seconds)
            time.sleep(0.02)
    finally:
        for pid in running:
            _end(pid, reap=True)


def _fork(function: Callable[[], int]) -> int:
    sys.stdout.flush(), sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        code = function()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def _end(pid: int, reap: bool) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)  # what it started goes with it
    if reap:
        os.waitpid(pid, 0)


def outcome(folder: Path) -> dict[str, Any] | None:
    """What a child has written, and its folder emptied; None where it did not come that far."""
    file = folder / "result.json"
    found = json.loads(file.read_text()) if file.exists() else None
    for child in _but_log(folder):
        shutil.rmtree(child, ignore_errors=True) if child.is_dir() else child.unlink(missing_ok=True)
    return found


def _but_log(folder: Path) -> Iterator[Path]:
    return (child for child in folder.iterdir() if child.name != "log") if folder.exists() else iter(())
