"""What a trial costs beside the search itself: this engine, and Ray Tune's OptunaSearch as shipped, in one run.

``python -m eos_platform.engine.benchmarks.overhead --trials 40``. Both run the same trainable (a few reports and a
sleep) at two slots with Optuna in SQLite; this engine also keeps its MLflow runs, curves included, which OptunaSearch
does not. Seconds a trial: from the beginning of the first trial to the end of the last, over the trials, less the
trainable's own time at that many slots. The driver's processor time says the same on a machine that others use.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from eos_platform.common import console as terminal
from eos_platform.common.addresses import of_sqlite
from eos_platform.costs.flops import DecoderShape
from eos_platform.engine.cluster.ray_session import ray_session
from eos_platform.engine.cluster.resources import machines, share
from eos_platform.engine.driver import job_of, run_trials
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store.run_dir import run_dir_of
from eos_platform.engine.trial import Functions
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target
from eos_platform.terminal.tables import plain_table
from eos_platform.tracking.recorder import Recorder

REPORTS = 10
OWN = "EOS_OVERHEAD_SECONDS"  # of the trainable itself, for the workers
BEGUN = "EOS_OVERHEAD_BEGUN"  # the file the trials note their beginning in
_TARGET = Target(layers=8, grid=(24, 24), model="none")
_SHAPE = DecoderShape(layers=8, hidden=64, heads=4, kv_heads=4, head_dim=16, intermediate=128, vocab=100)


@dataclass(frozen=True)
class Cost:
    """What one trial cost beside itself, in seconds."""

    who: str
    trials: int
    wall: float
    driver: float  # processor time of the driver


def work(report: Callable[[int, dict[str, float]], None], budget: float) -> tuple[float, float]:
    """The trainable both run: reports in even steps of its own time; accuracy and compute ratio."""
    with Path(os.environ[BEGUN]).open("a") as stream:
        stream.write(f"{time.time()}\n")
    for step in range(1, REPORTS + 1):
        time.sleep(float(os.environ[OWN]) / REPORTS)
        report(step, {"loss": 1.0 / step})
    return 0.5 + 0.4 * budget, 0.9 * budget


def _load(model: str, task: str) -> Any:
    return SimpleNamespace(name=model, target=_TARGET, shape=_SHAPE, text_tokens=30, model=None)


def _search(workload: Any, config: Any, *, report: Any, checkpoint: Path) -> Any:
    accuracy, ratio = work(report, config.budget)
    operator = OperatorSpec(target=_TARGET, sites=(SiteSpec(layer=0, keep=64, score={"norm": 1.0}),))
    return SimpleNamespace(
        operator=operator,
        accuracy=accuracy,
        compute_ratio=ratio,
        relaxed_accuracy=accuracy,
        mean_tokens=operator.mean_tokens,
        samples=0,
        seconds=0.0,
    )


def _evaluate(workload: Any, operator: Any, split: str, questions: int) -> Any:
    return SimpleNamespace(accuracy=1.0, scores=np.ones(questions), per_skill={})


def _check(workload: Any, config: Any) -> None:
    """Every budget will do."""


def ours(folder: Path, trials: int, slots: int) -> None:
    """A study of this engine."""
    file = StudyFile.of(
        {
            "name": "overhead",
            "model": "none",
            "space": {"budget": {"float": [0.05, 0.5]}, "learning_rate": {"float": [0.01, 0.1]}},
            "sampler": "tpe",
            "trials": trials,
            "concurrent": slots,
            "resources": {"gpu": 0},
            "final": {"questions": 8, "baselines": []},
        }
    )
    functions = Functions(load=_load, search=_search, evaluate=_evaluate, check=_check)
    place = run_dir_of(file, folder)
    place.prepare()
    part = share(file, machines({}))
    with store.open_store(place, create=True) as optuna_study:
        recorder = Recorder(place.mlflow_uri, file.name, optuna_study.user_attrs[store.UID], place.mlflow_artifacts)
        run_trials(place, optuna_study, recorder, job_of(place, part, functions), part, terminal.console(quiet=True))


def shipped(folder: Path, trials: int, slots: int, reuse: bool = False) -> None:
    """Ray Tune's OptunaSearch, as its documentation has it."""
    import optuna
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    folder.mkdir(parents=True)

    def train(config: dict[str, float]) -> None:
        latest: dict[str, float] = {}

        def report(step: int, values: dict[str, float]) -> None:
            tune.report({**values, **latest, "accuracy": 0.0, "compute_ratio": 1.0})

        accuracy, ratio = work(report, config["budget"])
        tune.report({"accuracy": accuracy, "compute_ratio": ratio})

    search = OptunaSearch(
        {"budget": tune.uniform(0.05, 0.5), "learning_rate": tune.uniform(0.01, 0.1)},
        metric=["accuracy", "compute_ratio"],
        mode=["max", "min"],
        storage=optuna.storages.RDBStorage(of_sqlite(folder / "optuna.db")),
    )
    tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=search, num_samples=trials, max_concurrent_trials=slots, reuse_actors=reuse
        ),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    ).fit()


def measure(who: str, run: Callable[[Path, int, int], None], folder: Path, trials: int, slots: int, own: float) -> Cost:
    """Run it once, in a Ray that is up."""
    begun = Path(os.environ[BEGUN])
    begun.unlink(missing_ok=True)
    processor = time.process_time()
    run(folder, trials, slots)
    ended, processor = time.time(), time.process_time() - processor
    first = min(map(float, begun.read_text().split()))
    return Cost(who, trials, (ended - first) / trials - own / slots, processor / trials)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.5, help="the trainable's own time")
    given = parser.parse_args()
    console = terminal.console()
    with tempfile.TemporaryDirectory(prefix="eos-overhead-") as scratch:
        folder = Path(scratch)
        os.environ |= {OWN: str(given.seconds), BEGUN: str(folder / "begun.txt")}
        with ray_session("local"):
            costs = [measure("eos", ours, folder / "eos", given.trials, given.slots, given.seconds)]
            loggers = os.environ.pop("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", None)  # as shipped, they write
            for reuse in (False, True):
                name = "OptunaSearch, actors reused" if reuse else "OptunaSearch as shipped"

                def run(where: Path, trials: int, slots: int, reuse: bool = reuse) -> None:
                    shipped(where, trials, slots, reuse)

                costs.append(measure(name, run, folder / f"shipped-{reuse}", given.trials, given.slots, given.seconds))
            if loggers is not None:
                os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = loggers
    table = plain_table(
        f"overhead, {given.slots} slots, {REPORTS} reports in {given.seconds:g} s",
        left=("engine",),
        right=("trials", "s a trial", "driver's processor s a trial"),
    )
    for cost in costs:
        table.add_row(cost.who, str(cost.trials), f"{cost.wall:.3f}", f"{cost.driver:.3f}")
    console.print(table)


if __name__ == "__main__":
    terminal.run(main)
