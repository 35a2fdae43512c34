"""A store with as many trials as wanted, to try dashboards on: written by the tracking code, as a study would.

    python -m eos_platform.tracking.generate --trials 5000 --out many-runs

The searches are not run: accuracy follows the budget with some noise, and every trial's operator is a simple one of
that budget. Everything else is as in a study: a run each, curves, operator file, pictures, the front as it moves, the
designs, the registered front. ``mlflow ui --backend-store-uri sqlite:///many-runs/mlflow.db`` opens it.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import Metric

from eos_platform.common import console as terminal
from eos_platform.common.addresses import of_sqlite
from eos_platform.common.errors import EosError
from eos_platform.dashboards.page import alone
from eos_platform.dashboards.pareto import pareto_figure
from eos_platform.operators.site import Transfer
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target
from eos_platform.tracking import names
from eos_platform.tracking.reading.studies import front_url, open_command
from eos_platform.tracking.recorder import Recorder
from eos_platform.tracking.rows import TrialRow

TARGET = Target(layers=8, grid=(24, 24), model="bundled", vision_layers=5)  # its own, known without loading it
STUDY_YAML = """name: {name}
model: bundled
task: scenes
space:
  budget: {{float: [0.05, 0.5], log: true}}
  learning_rate: {{float: [0.01, 0.1], log: true}}
trials: {trials}
"""
DESIGNS = ("random", "stride", "pool", "tome", "fastv", "divprune")
RATIOS = (0.05, 0.1, 0.2, 0.4)
CURVE = (15, 30, 45)  # steps that are reported
SKILLS = ("count", "text", "color", "relation")


def generate(out: Path, trials: int, name: str = "many", seed: int = 0) -> str:
    """Write a study; the store's URI.

    Raises:
        EosError: the store cannot be made.
    """
    out = out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    uri = of_sqlite(out / "mlflow.db")
    generate_into(uri, (out / "mlflow-artifacts").as_uri(), trials, name, seed)
    return uri


def generate_into(uri: str, artifacts: str | None, trials: int, name: str, seed: int) -> None:
    """Write a study to any store.

    Args:
        uri: the MLflow tracking URI.
        artifacts: where its artifacts go; a server decides by itself.

    Raises:
        EosError: the store cannot be opened.
    """
    rng = random.Random(seed)
    recorder = Recorder(uri, name, f"{name}-{seed}", artifacts)
    recorder.describe(
        STUDY_YAML.format(name=name, trials=trials),
        f"{trials} made-up trials: nothing here was searched or measured",
        {"model": "bundled", "task": "scenes", "varied": "budget, learning_rate"},
        {"trials": trials, "sampler": "tpe", "seed": seed},
    )
    front: list[tuple[float, float, int]] = []  # compute ratio, accuracy, trial
    operators: dict[int, OperatorSpec] = {}
    begin = time.monotonic()
    for number in range(trials):
        row = _trial(name, number, rng)
        run_id = recorder.start_trial(row)
        now = int(time.time() * 1000)
        curve = [Metric(names.LOSS, 2 * math.exp(-step / 20) + 0.1 * rng.random(), now, step) for step in CURVE]
        curve += [Metric(names.SOFT_RATIO, row.params["budget"], now, step) for step in CURVE]
        recorder.client.log_batch(run_id, metrics=curve)  # several reports in one write, as the engine does
        recorder.finish_trial(run_id, row)
        if row.operator:
            operators[number] = OperatorSpec.from_json(row.operator)
            front = _grown(front, (row.measured["compute_ratio"], row.measured["accuracy"], number))
            recorder.mark_front(trial for _, _, trial in front)
        if number % 100 == 99:
            each = (time.monotonic() - begin) / (number + 1)
            terminal.say(f"{number + 1} of {trials} trials, {1000 * each:.0f} ms each")
    points = [_point("unreduced", "unreduced", 0.97, OperatorSpec(target=TARGET))]
    points += [
        _point(f"trial {trial}", "searched", accuracy - 0.005, operators[trial], trial, ratio=ratio)
        for ratio, accuracy, trial in front
    ]
    for design in DESIGNS:
        for ratio in RATIOS:
            operator = _operator(f"{design} at {ratio:.3f}", ratio, 4)
            accuracy = _accuracy(ratio) - 0.05 - 0.1 * rng.random()
            points.append(_point(operator.name, "hand-designed", accuracy, operator, design=design, ratio=ratio))
    for point in points:
        operator_json = None if point["family"] == "unreduced" else point["operator"].to_json()
        recorder.point(point, operator_json)
    recorder.register(points, {trial: operators[trial].to_json() for _, _, trial in front})
    recorder.draw_front(point for point in points if point["family"] == "searched")
    figure = pareto_figure(pd.DataFrame(points).drop(columns="operator"), f"{name}: accuracy against compute")
    recorder.summary({"pareto.html": alone(figure)}, {"front_size": float(len(front))})
    recorder.close("FINISHED")


def _trial(name: str, number: int, rng: random.Random) -> TrialRow:
    budget, rate = math.exp(rng.uniform(math.log(0.05), math.log(0.5))), math.exp(rng.uniform(-4.6, -2.3))
    params = {"budget": budget, "learning_rate": rate, "steps": 60, "batch_size": 16, "seed": 0, "layers": (0, 7)}
    ray = f"{number:08x}"
    if rng.random() < 0.02:
        return TrialRow(number, "failed", ray, params=params, failure="ValueError: made up")
    operator = _operator(f"{name}-{number}", 0.95 * budget, rng.choice((0, 2, 4, 7)))
    measured = {
        "accuracy": _accuracy(budget) - abs(rng.gauss(0.04, 0.02)),
        "compute_ratio": 0.98 * budget,
        "mean_tokens": operator.mean_tokens,
        "tokens_left": float(operator.tokens_left),
        "relaxed_accuracy": _accuracy(budget),
        "samples": 960.0,
        "seconds": 20 + 10 * rng.random(),
    }
    return TrialRow(number, "complete", ray, None, params, measured, operator.to_json(), operator.regime)


def _operator(name: str, ratio: float, second: int) -> OperatorSpec:
    keep = max(2, round(TARGET.tokens * ratio))
    sites = [SiteSpec(layer=0, keep=keep, score={"norm": 1.0}, transfer=Transfer(gamma=1.0, tau=0.0))]
    if second:
        sites.append(SiteSpec(layer=second, keep=max(1, keep // 2), score={"norm": 1.0}))
    return OperatorSpec(name=name, target=TARGET, sites=tuple(sites))


def _accuracy(ratio: float) -> float:
    return 0.97 - 0.25 * math.exp(-12 * ratio)


def _grown(front: list[tuple[float, float, int]], new: tuple[float, float, int]) -> list[tuple[float, float, int]]:
    if any(ratio <= new[0] and accuracy >= new[1] for ratio, accuracy, _ in front):
        return front
    return sorted([one for one in front if not (new[0] <= one[0] and new[1] >= one[1])] + [new])


def _point(
    name: str,
    family: str,
    accuracy: float,
    operator: OperatorSpec,
    trial: int | None = None,
    design: str = "",
    ratio: float = 1.0,
) -> dict[str, Any]:
    return {
        "name": name,
        "family": family,
        "accuracy": accuracy,
        "accuracy_low": accuracy - 0.012,
        "accuracy_high": accuracy + 0.012,
        "compute_ratio": ratio,
        "mean_tokens": operator.mean_tokens,
        "tokens_left": operator.tokens_left,
        "regime": operator.regime,
        "trial": trial,
        "design": design,
        "questions": 1024,
        "operator": operator,
        **{f"skill:{skill}": accuracy for skill in SKILLS},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m eos_platform.tracking.generate", description=__doc__)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--out", type=Path, default=Path("many-runs"))
    parser.add_argument("--name", default="many")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    try:
        uri = generate(given.out, given.trials, given.name, given.seed)
    except EosError as error:
        terminal.say(f"generate: {error}", stderr=True)
        return 2
    terminal.say(open_command(uri))
    terminal.say(front_url(uri, given.name))
    return 0


if __name__ == "__main__":
    terminal.run(main)
