"""Valid files of every kind, made once by the code that makes them for people."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import yaml

QUICK = ("steps=4", "batch_size=4", "search_questions=16", "eval_questions=16")
STUDY = {
    "name": "tiny",
    "description": "a small one",
    "model": "bundled-small",
    "task": "scenes",
    "objectives": {"accuracy": "maximise", "compute_ratio": "minimise"},
    "search": {"steps": 40, "batch_size": 4, "search_questions": 32, "eval_questions": 32, "eval_every": 4},
    "space": {
        "budget": {"float": [0.1, 0.4], "log": True},
        "learning_rate": {"choice": [0.03, 0.05]},
        "steering_rank": {"int": [0, 8], "step": 4},
        "tau_start": {"float": [0.01, 0.1], "when": {"learning_rate": [0.03]}},
    },
    "sampler": {"name": "tpe", "seed": 1},
    "scheduler": {"name": "moasha", "grace": 8, "reduction": 3.0},
    "constraints": {"accuracy": {"all": 0.1}, "compute_ratio": 0.5},
    "warm_start": {"designs": ["fastv"], "max_searches": 1},
    "trials": 2,
    "concurrent": 1,
    "resources": {"cpu": 1.0, "gpu": 0, "memory": "1GiB", "labels": {"a": "b"}},
    "final": {"questions": 32, "baselines": ["tome"], "ratios": 1},
}


def make(folder: Path, *, search: bool = True) -> None:
    """Write them into ``folder``.

    Args:
        search: with a search's state, and the operator it found; else a hand-designed operator.
    """
    from eos_platform.models import bundled
    from eos_platform.operators.designs import get_design
    from eos_platform.operators.spec import Target

    folder.mkdir(parents=True, exist_ok=True)
    os.environ["EOS_CACHE"] = str(folder / "cache")
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    shutil.copytree(bundled.folder("bundled-small"), folder / "model")
    _store(folder / "runs")
    _study(folder / "runs")
    if search:
        _searched(folder)
    else:
        target = Target(layers=6, grid=(12, 12), model="bundled-small", vision_layers=3)
        get_design("fastv").build(target, 40).save(folder / "operator.json")
    _compared(folder)


def _searched(folder: Path) -> None:
    """An operator file and a search's state, as a real search of a few steps leaves them."""
    from eos_platform.search import SearchConfig, search
    from eos_platform.tasks import load_workload

    values = dict(pair.split("=") for pair in QUICK)
    config = SearchConfig.of({"budget": 0.3, **{key: int(value) for key, value in values.items()}})
    result = search(load_workload("bundled-small", device="cpu"), config, checkpoint=folder / "state")
    result.operator.save(folder / "operator.json")


def _compared(folder: Path) -> None:
    from eos_platform.analysis.comparison.run import run
    from eos_platform.analysis.comparison.settings import Settings

    run(
        Settings.of(
            operators=(folder / "operator.json",),
            ratios=None,
            seeds=0,
            model="bundled-small",
            designs=("tome", "vtw"),
            questions=24,
            batch=1,
            pictures=1,
            out=folder / "compare",
        ),
        "cpu",
    )


def _store(runs: Path) -> None:
    """An MLflow store with a study, as the driver writes it."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "dashboard_data"))
    from browse_store import end_study, write_study

    runs.mkdir()
    recorder = write_study(runs)
    end_study(recorder)
    recorder.client._tracking_client.store.engine.dispose()


def _study(runs: Path) -> None:
    """A study's folder with its Optuna store, as far as no Ray is needed for it."""
    import optuna
    from optuna.trial import TrialState, create_trial

    from eos_platform.engine.schema.study_file import StudyFile
    from eos_platform.engine.store import optuna_store as store
    from eos_platform.engine.store import stored_trial as stored
    from eos_platform.engine.store.run_dir import run_dir_of

    file = StudyFile.of(STUDY)
    run_dir = run_dir_of(file, runs)
    run_dir.prepare()
    run_dir.study_file.write_text(file.to_yaml())
    with store.open_store(run_dir, create=True) as optuna_study:
        space = {name: dimension.distribution() for name, dimension in file.space.items() if name != "tau_start"}
        for number, (accuracy, ratio) in enumerate(((0.9, 0.3), (0.7, 0.15))):
            measured = {"accuracy": accuracy, "compute_ratio": ratio, "mean_tokens": 20.0, "seconds": 3.0}
            optuna_study.add_trial(
                create_trial(
                    state=TrialState.COMPLETE,
                    values=[accuracy, ratio],
                    params={"budget": 0.2 + number / 10, "learning_rate": 0.03, "steering_rank": 4},
                    distributions=space,
                    user_attrs={
                        stored.RAY_ID: f"ray{number}",
                        stored.MEASURED: measured,
                        stored.BUDGET: 0.2,
                        stored.REGIME: "prune",
                    },
                )
            )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tune = run_dir.storage / "tune-1"
    tune.mkdir(parents=True)
    trials = [
        [json.dumps({"trial_id": f"ray{number}", "config": {"number": number}, "status": "TERMINATED"}), "{}"]
        for number in range(2)
    ]
    (tune / "experiment_state-1.json").write_text(json.dumps({"trial_data": trials}))
    rows = "name,family,regime,trial,design,accuracy,accuracy_low,accuracy_high,compute_ratio,mean_tokens,questions\n"
    rows += (
        "unreduced,unreduced,identity,,,0.95,0.9,0.97,1.0,144,32\ntrial 0,searched,prune,0,,0.9,0.8,0.95,0.3,20,32\n"
    )
    run_dir.points.write_text(rows)
