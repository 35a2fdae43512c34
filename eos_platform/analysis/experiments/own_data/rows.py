"""Time and memory of many rows: ``eos data check``, the first step of a search, and going on with it.

    python -m eos_platform.analysis.experiments.own_data.rows --rows 100000 --pictures 50000 --out rows

Pictures of a few sizes are drawn into ``OUT`` once. Each command then runs in a process of its own, with an empty cache
and again with what it kept; processor time says more than the clock where others use the machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import write_atomic

SIZES = ((64, 48), (48, 64), (96, 96), (32, 80))  # width, height
DATA, CACHE = "rows.jsonl", "cache"
LONG, STEPPING = 40, "corrected:"  # steps, and what a search says after some of them
COLUMNS = ("what", "seconds", "processor seconds", "peak memory")


class Spent(NamedTuple):
    """What a command took: by the clock, of processors, and the most memory it held (bytes)."""

    what: str
    seconds: float
    processor: float
    memory: int


def draw(folder: Path, rows: int, pictures: int) -> Path:
    """Rows about pictures that are all different, written once.

    Args:
        folder: for the data.
        rows: how many.
        pictures: how many, of ``SIZES`` in turn.

    Returns:
        The JSONL file.
    """
    path = folder / DATA
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    for number in range(pictures):
        width, height = SIZES[number % len(SIZES)]
        few = rng.integers(0, 255, (height // 16, width // 16, 3), dtype=np.uint8)
        place = folder / f"pictures/{number // 1000:03d}/{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(few.repeat(16, 0).repeat(16, 1)).save(place)
    words = ("red", "green", "blue", "two", "three", "yes", "no")
    lines = [
        strict_json.dumps(
            {
                "image": f"pictures/{number % pictures // 1000:03d}/{number % pictures}.png",
                "question": f"what colour is the circle of {number % 97}?",
                "answer": words[number % len(words)],
                "group": f"kind {number % 5}",
            }
        )
        for number in range(rows)
    ]
    write_atomic(path, "".join(f"{line}\n" for line in lines))
    return path


def spent(what: str, command: Sequence[str], cache: Path, stop_at: str = "") -> Spent:
    """Run ``eos`` with these words, and tell what it took.

    Args:
        what: it is called.
        command: the words.
        cache: its folder of kept things.
        stop_at: a text after which Ctrl-C is pressed; empty: it runs to its end.

    Raises:
        EosError: it failed, or ended before it could be stopped.
    """
    begun = time.monotonic()
    words = [sys.executable, "-m", "eos_platform", *command]
    environment = {**os.environ, "EOS_CACHE": str(cache)}
    with subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said, stopped = "", False
        for one in process.stdout:
            said += one
            if stop_at and stop_at in one and not stopped:
                process.send_signal(signal.SIGINT)
                stopped = True
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if bool(process.returncode) != bool(stop_at):
        raise EosError(f"{what}: {' '.join(command)} {'was not stopped' if stop_at else 'failed'}: {said[-300:]}")
    return Spent(what, time.monotonic() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def measure(folder: Path, rows: int, pictures: int, model: str, questions: int) -> list[Spent]:
    """Every command, the first time and again.

    Args:
        folder: for data, cache and results.
        rows: how many.
        pictures: how many.
        model: that is searched on.
        questions: of the search split that a search sees.
    """
    data, cache = draw(folder, rows, pictures), folder / CACHE
    shutil.rmtree(cache, ignore_errors=True)
    states = [folder / name for name in ("short", "stopped")]
    for state in states:
        shutil.rmtree(state, ignore_errors=True)
    check: list[str] = ["data", "check", str(data), "--out", str(folder / "check")]
    search: list[str] = ["search", "--model", model, "--data", str(data), "--budget", ".3"]
    search += ["--device", "cpu", "--output", str(folder / "operator.json"), "--set", "portfolio=false"]
    search += ["--set", f"search_questions={questions}", "--set", "batch_size=8", "--set", "eval_questions=16"]
    short, long = ([*search, "--state", str(state)] for state in states)
    encoded = f"{questions} questions encoded"
    jobs: list[tuple[str, list[str], str]] = [
        ("nothing: eos --version", ["--version"], ""),
        ("eos data check", check, ""),
        ("eos data check again", check, ""),
        (f"search of 4 steps, {encoded}", [*short, "--steps", "4"], ""),
        ("another of 4 steps, what was encoded known", [*search, "--steps", "4"], ""),
        (f"search of {LONG} steps, stopped by Ctrl-C", [*long, "--steps", str(LONG)], STEPPING),
        ("the same command, which goes on to its end", [*long, "--steps", str(LONG)], ""),
    ]
    found: list[Spent] = []
    for what, command, stop_at in jobs:
        found.append(spent(what, command, cache, stop_at))
        terminal.say(line(found[-1]), stderr=True)
    return found


def line(one: Spent) -> str:
    """A row of the table."""
    cells: list[Any] = [one.what, f"{one.seconds:.1f}", f"{one.processor:.1f}", f"{one.memory / 2**20:,.0f} MiB"]
    return f"| {' | '.join(cells)} |"


def main(words: Sequence[str] | None = None) -> None:
    """See the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument("--model", default="bundled-small")
    parser.add_argument("--questions", type=int, default=256, help="of the search split that a search sees")
    parser.add_argument("--out", type=Path, default=Path("rows"))
    given = parser.parse_args(words)
    given.out.mkdir(parents=True, exist_ok=True)
    found = measure(given.out, given.rows, given.pictures, given.model, given.questions)
    terminal.say("\n".join([f"| {' | '.join(COLUMNS)} |", "| --- | ---: | ---: | ---: |", *map(line, found)]))


if __name__ == "__main__":
    main()
