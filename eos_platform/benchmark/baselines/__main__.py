"""Run optimisers on OperatorBench with many seeds, and write the table of their hypervolume.

    python -m eos_platform.benchmark.baselines run --out runs --seeds 20
    python -m eos_platform.benchmark.baselines table --out runs --csv studies/results/operator-bench.csv

``run`` goes on where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError

SLOW = {"gp": 40}  # evaluations of methods whose own work is slow


def main(words: list[str] | None = None) -> int:
    """Do a piece; the exit code."""
    import pandas as pd

    from eos_platform.benchmark.baselines.methods import METHODS
    from eos_platform.benchmark.baselines.run import run, searched, table
    from eos_platform.benchmark.bench import OperatorBench
    from eos_platform.common.files import write_atomic

    parser = argparse.ArgumentParser(
        prog="python -m eos_platform.benchmark.baselines",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("piece", choices=("run", "table"))
    parser.add_argument("--out", type=Path, default=Path("operator-bench-runs"), help="folder of the runs")
    parser.add_argument("--models", nargs="+", default=None, help="default: all of the table")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--evaluations", type=int, default=200, help=f"at most; fewer of {', '.join(SLOW)}")
    parser.add_argument("--seconds", type=float, default=36_000.0, help="after which no run is begun")
    parser.add_argument("--table", default=None, help="another table than the package's")
    parser.add_argument("--name", default="baselines", help="of this process, where several share a folder")
    parser.add_argument("--csv", type=Path, default=None, help="where the table of means goes")
    given = parser.parse_args(words)
    try:
        given.out.mkdir(parents=True, exist_ok=True)
        models = given.models or OperatorBench.models(given.table)
        if given.piece == "run":
            counts = {name: min(given.evaluations, SLOW.get(name, given.evaluations)) for name in METHODS}
            args = given.out, models, given.methods, range(given.seeds), counts.__getitem__
            run(*args, given.seconds, terminal.say, given.table, given.name)
        frame = pd.concat([table(given.out), *(searched(model, given.table) for model in models)])
        last = frame.groupby(["model", "method"])["evaluations"].transform("max")
        terminal.say(frame[frame["evaluations"] == last].to_string(index=False))
        if given.csv:
            write_atomic(given.csv, frame.to_csv(index=False))
    except EosError as error:
        terminal.say(f"operator-bench: {error}", stderr=True)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
