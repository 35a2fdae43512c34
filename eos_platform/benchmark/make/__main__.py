"""Make the table of OperatorBench, in pieces that may be stopped and gone on with.

    python -m eos_platform.benchmark.make work --out shards --device cuda --workers 14 --seconds 250
    python -m eos_platform.benchmark.make times --out shards --device cuda --seconds 50
    python -m eos_platform.benchmark.make times --out shards --device cpu --seconds 300
    python -m eos_platform.benchmark.make status --out shards
    python -m eos_platform.benchmark.make build --out shards --table operators.parquet
    python -m eos_platform.benchmark.make check --out checked --count 200 --questions 128

``work`` asks the operators their questions, ``times`` measures some of them, ``build`` puts everything together, and
``check`` asks some again and holds the table against it. ``directions`` searches the learned directions of the space
anew, which makes it another one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError

TABLE = Path("operators.parquet")
MODELS = ("bundled-small", "bundled-small-v2")


def work(given: argparse.Namespace) -> int:
    """One worker here, or several processes of this program; the exit code."""
    run = given.run or str(time.time_ns())
    if given.workers > 1:
        return _several(given, run)
    import torch

    from eos_platform.benchmark.make.work import Worker

    torch.set_num_threads(1)
    worker = Worker(
        given.models,
        given.device,
        given.out,
        given.name,
        run,
        given.seconds,
        tuple(given.families),
        given.questions,
        given.every,
        terminal.say,
    )
    begun = time.monotonic()
    count = worker.run_all()
    terminal.say(f"{given.name}: {count} blocks of questions in {time.monotonic() - begun:.0f} s")
    return 0


def _several(given: argparse.Namespace, run: str) -> int:
    """Every process by itself: half of them begin with the other model."""
    until = time.monotonic() + given.seconds
    started = []
    for number in range(given.workers):
        models = given.models if number % 2 == 0 else list(reversed(given.models))
        words = [
            sys.executable,
            "-m",
            "eos_platform.benchmark.make",
            "work",
            "--out",
            str(given.out),
            "--device",
            given.device,
        ]
        words += ["--name", f"{given.name}-{number}", "--run", run, "--seconds", str(until - time.monotonic())]
        words += ["--questions", str(given.questions), "--every", str(given.every)]
        words += ["--models", *models, "--families", *given.families]
        log = (given.out / f"log-{given.name}-{number}.txt").open("ab")
        started.append(subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, env={**os.environ}))
    try:
        codes = [one.wait() for one in started]
    except KeyboardInterrupt:
        for one in started:
            one.terminate()
        raise
    failed = sum(code != 0 for code in codes)
    terminal.say(f"{given.workers} workers ended, {failed} of them with an error: log-*.txt in {given.out}")
    return int(failed > 0)


def times(given: argparse.Namespace) -> None:
    """Measure a sample."""
    from eos_platform.benchmark.make.times import measure

    measure(given.device, given.out, given.seconds, terminal.say)


def status(given: argparse.Namespace) -> None:
    """How far it is."""
    from eos_platform.benchmark.make.collect import counted

    terminal.say(*counted(given.out))


def build(given: argparse.Namespace) -> None:
    """The Parquet."""
    from eos_platform.benchmark.make.table import build as made
    from eos_platform.benchmark.make.times import CPU_PROFILE

    profiles = {"cuda": given.profile, "cpu": given.cpu_profile or given.out / CPU_PROFILE}
    terminal.say(*made(given.out, given.table, given.models, profiles, given.every))


def check(given: argparse.Namespace) -> None:
    """The table against fresh runs."""
    from eos_platform.benchmark.make.check import check as checked
    from eos_platform.benchmark.make.check import times as held

    path = str(given.table) if given.table != TABLE else None
    terminal.say(*checked(given.out, given.count, given.questions, given.device, path, terminal.say), *held(path))


def directions(given: argparse.Namespace) -> None:
    """The learned part of the space."""
    from eos_platform.benchmark.make.directed import directions as searched

    searched(given.models, given.device, given.out / "directions.json", terminal.say)


PIECES: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "directions": directions,
    "work": work,
    "times": times,
    "status": status,
    "build": build,
    "check": check,
}


def main(words: list[str] | None = None) -> int:
    """Do a piece; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m eos_platform.benchmark.make",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("piece", choices=tuple(PIECES))
    parser.add_argument("--out", type=Path, default=Path("operator-bench"), help="folder of the shards")
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes; a GPU is shared best under CUDA MPS")
    parser.add_argument("--seconds", type=float, default=3600.0, help="after which nothing more is begun")
    parser.add_argument("--questions", type=int, default=1024, help="the first so many held-out ones")
    parser.add_argument("--count", type=int, default=200, help="operators that check asks again")
    parser.add_argument("--families", nargs="+", default=["composed", "design", "searched"])
    parser.add_argument("--every", type=int, default=1, help="one point in so many, for a trial run")
    parser.add_argument("--name", default="worker", help="of this worker's shards")
    parser.add_argument("--run", default="", help="what workers of one run share")
    parser.add_argument(
        "--table", type=Path, default=TABLE, help="that is written, or checked; default of check: the package's"
    )
    parser.add_argument("--profile", type=Path, default=Path("studies/results/device-profiles/llava-1.5-7b-h200.json"))
    parser.add_argument("--cpu-profile", type=Path, default=None, help="default: the one that times leaves there")
    given = parser.parse_args(words)
    try:
        given.out.mkdir(parents=True, exist_ok=True)
        return PIECES[given.piece](given) or 0
    except EosError as error:
        terminal.say(f"operator-bench: {error}", stderr=True)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
