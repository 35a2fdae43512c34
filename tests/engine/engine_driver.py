"""A driver process to be stopped by a test: ``python engine_driver.py RUNS``. One search ends, the rest are slow."""

import sys
from pathlib import Path

import engine_fakes as fakes
import typer

from eos_platform.cli import study as study_cli
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.study import Study


def main() -> None:
    runs = Path(sys.argv[1])
    file = fakes.study_file(trials=4, final={"questions": 20, "baselines": []})
    study = Study(file, runs=runs, functions=fakes.FUNCTIONS)
    study.folder.prepare()
    with store.open_store(study.folder, create=True) as optuna_study:
        for behaviour in () if optuna_study.trials else (fakes.WELL, fakes.SLOW, fakes.SLOW, fakes.SLOW):
            optuna_study.enqueue_trial({"search_questions": behaviour, "budget": 0.1, "learning_rate": 0.05})
    with study_cli.resumable(study, "tiny", study_cli.RUNS):
        study.run()


if __name__ == "__main__":
    try:
        main()
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
