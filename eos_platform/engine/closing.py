"""What a study says when it is done: what was found, the champion, and what people type next."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from eos_platform.analysis.stats.pareto import front_of
from eos_platform.common.addresses import masked, of_sqlite
from eos_platform.common.commands import command
from eos_platform.engine.store.run_dir import RUNS, RunDir
from eos_platform.tasks.choice import options_of
from eos_platform.tracking.reading.studies import front_url, open_command
from eos_platform.tracking.registry import WITHIN, Entry, champion_of


def closing(run_dir: RunDir, points: pd.DataFrame) -> Iterator[str]:
    """The lines."""
    whole = points[points["family"] == "unreduced"]
    front = points[front_of(points, run_dir.study.axes)].sort_values("compute_ratio")
    yield ""
    if front.empty:
        yield f"{run_dir.study.name} found no operator that meets its budget and constraints"
    else:
        unreduced = float(whole["accuracy"].iloc[0]) if len(whole) else None
        best = champion(front, unreduced)
        yield _found(run_dir.study.name, front, best, unreduced)
        yield from _next(run_dir, best)
    yield ""
    yield "files: " + ", ".join(map(_near, (run_dir.figure, run_dir.points, run_dir.operators)))


def champion(front: pd.DataFrame, unreduced: float | None) -> dict[str, Any]:
    """The row of the operator that the registry calls champion."""
    entries = [
        Entry(int(row["trial"]), "", "", float(row["accuracy"]), float(row["compute_ratio"]))
        for row in front.to_dict("records")
    ]
    trial = champion_of(entries, unreduced).trial
    return {str(name): value for name, value in front[front["trial"] == trial].iloc[0].items()}


def _found(name: str, front: pd.DataFrame, best: dict[str, Any], unreduced: float | None) -> str:
    accuracy, ratio, tokens = (float(best[key]) for key in ("accuracy", "compute_ratio", "mean_tokens"))
    of = f" of the unreduced model's {100 * unreduced:.1f} %" if unreduced is not None else " %"
    near = unreduced is not None and accuracy >= unreduced - WITHIN
    why = "its champion" if near else "none is within a point of the unreduced model; its champion, the most accurate"
    many = f"{len(front)} operators" if len(front) > 1 else "one operator"
    return (
        f"{name} found a front of {many} (held-out questions); {why}, trial {int(best['trial'])}, keeps"
        f" {100 * accuracy:.1f}{of} at {100 * ratio:.0f} % of the compute, with {tokens:.0f} visual tokens per layer"
    )


def _next(run_dir: RunDir, best: dict[str, Any]) -> Iterator[str]:
    study = run_dir.study
    operator = run_dir.operators / f"{best['name'].replace(' ', '-')}.json"
    elsewhere = [] if run_dir.runs == Path(RUNS).absolute() else ["--studies", _near(run_dir.runs)]
    if run_dir.mlflow_uri != of_sqlite(run_dir.runs / "mlflow.db"):
        elsewhere = ["--tracking", masked(run_dir.mlflow_uri)]
    subject = [_near(operator), "--model", study.model, *options_of(study.task, study.model)]
    flags = [f"--{name.replace('_', '-')}" for name in ("trust_remote_code", "allow_missing") if getattr(study, name)]
    # the dashboard is an extra; the report needs nothing more and shows the same
    browse = ["dashboard"] if importlib.util.find_spec("dash") else ["report", study.name]
    explain = ["explain", *subject, *flags, "--out", "explained"]
    eos = command("eos")  # all by their path where the shell would not find one
    commands = {
        f"{eos} {shlex.join([*browse, *elsewhere])}": "the front, its operators, how the study went",
        f"{eos} {shlex.join(explain)}": "what the champion does, with pictures",
        open_command(run_dir.mlflow_uri): "every run" + _at(run_dir),
    }
    yield ""
    yield "next:"
    for line, what in commands.items():
        yield f"  {line}"
        yield f"      {what}"
    yield f'in Python: eos.attach(model, "models:/{study.name}@champion")'


def _near(path: Path) -> str:
    """A path as it is typed from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _at(run_dir: RunDir) -> str:
    url = front_url(run_dir.mlflow_uri, run_dir.study.name)
    return f"; then the front is at {url}" if url else ""
