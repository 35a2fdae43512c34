"""Running the optimisers with many seeds, and what came of it as a table of means.

A line of JSON for each run, so that what is there is not run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eos_platform.benchmark.baselines.methods import METHODS, History
from eos_platform.benchmark.bench import DEFAULT, OperatorBench
from eos_platform.benchmark.make.shards import Shard, read
from eos_platform.common.errors import unknown

RUNS, SEARCHED = "runs", "searched"
AT = (5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 250, 300, 400, 500)  # evaluations


def trace(history: History, evaluations: int) -> dict[int, float]:
    """Hypervolume after so many evaluations' worth of questions, as a share of the whole space's."""
    bench, spent = history.bench, np.array(history.spent)
    found = {}
    for count in (*(at for at in AT if at < evaluations), evaluations):
        known = [point for point, at in zip(history.points, spent, strict=True) if at <= count * bench.questions]
        found[count] = bench.hypervolume(known, history.objectives) if known else 0.0
    return found


def run(
    folder: Path,
    models: Sequence[str],
    methods: Sequence[str],
    seeds: Sequence[int],
    evaluations: Callable[[str], int],
    seconds: float,
    say: Callable[[str], None],
    path: str | None = None,
    name: str = "baselines",
) -> None:
    """Run what has not been run, while there is time.

    Args:
        folder: of the lines.
        evaluations: of a method.
        path: of another table.
        name: of this process.

    Raises:
        EosError: an unknown method.
    """
    for method in methods:
        if method not in METHODS:
            raise unknown("method", method, METHODS)
    begun, done = time.monotonic(), {_key(line) for line in read(folder, RUNS)}
    shard, benches = Shard(folder, RUNS, name), {model: OperatorBench(model, path=path) for model in models}
    for seed in seeds:
        for method in methods:
            for model in models:
                if (model, method, seed) in done or time.monotonic() - begun > seconds:
                    continue
                started, count = time.monotonic(), evaluations(method)
                history = METHODS[method](benches[model], DEFAULT, count, seed)
                found = trace(history, count)
                took = time.monotonic() - started
                line: dict[str, Any] = {"model": model, "method": method, "seed": seed, "seconds": round(took, 2)}
                shard.add([line | {"hypervolume": {str(at): value for at, value in found.items()}}])
                say(f"{model}, {method}, seed {seed}: {found[count]:.4f} after {count} evaluations, {took:.1f} s")


def _key(line: dict[str, Any]) -> tuple[str, str, int]:
    return str(line["model"]), str(line["method"]), int(line["seed"])


def table(folder: Path) -> pd.DataFrame:
    """Hypervolume by model, method and evaluations: mean, standard deviation, worst and best of the seeds."""
    rows = [
        {"model": line["model"], "method": line["method"], "evaluations": int(at), "hypervolume": value}
        for line in read(folder, RUNS)
        for at, value in line["hypervolume"].items()
    ]
    frame = pd.DataFrame(rows, columns=["model", "method", "evaluations", "hypervolume"])
    grouped = frame.groupby(["model", "method", "evaluations"], sort=True)["hypervolume"]
    found = grouped.agg(mean="mean", std="std", worst="min", best="max", seeds="count").reset_index()
    return found.round(5)


def searched(model: str, path: str | None = None) -> pd.DataFrame:
    """Rows of the same kind for what gradient searches have after so many steps (``evaluations``), all their settings
    together: hypervolume as a share of that of the space without them, which they can exceed."""
    bench, mine = OperatorBench(model, path=path), OperatorBench(model, ("searched",), path=path)
    rows = []
    for steps in mine.steps:
        answers = [mine.query(point, DEFAULT, steps=steps) for point in mine.space().points()]
        share = bench.hypervolume([[answer[name] for name in DEFAULT] for answer in answers], DEFAULT)
        rows.append({"model": model, "method": SEARCHED, "evaluations": steps, "mean": round(share, 5)})
    return pd.DataFrame(rows)
