"""One real Ray for the whole folder: starting it costs seconds, a trial does not."""

import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

# pytest's importlib mode puts no folder on the path
sys.path.insert(0, str(Path(__file__).parent))

import engine_fakes as fakes
from engine_fakes import study_file

from eos_platform.engine import driver, trial
from eos_platform.engine.cluster.ray_session import ray_session
from eos_platform.engine.store.run_dir import run_dir_of
from eos_platform.engine.study import Study
from eos_platform.tracking.recorder import connect


@pytest.fixture(scope="session")
def ray_local():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # for the workers
        with ray_session("local"):
            yield


@pytest.fixture
def described_here(monkeypatch):
    """What a driver asks of the model beforehand, its own process answers: a worker takes seconds to start."""
    monkeypatch.setattr(trial, "_workloads", {})
    monkeypatch.setattr(driver, "remotely", lambda function, part: function)
    monkeypatch.setattr(driver, "outcome", lambda found: found)


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory):
    """An MLflow store without runs: making one takes seconds, copying it does not."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    client = connect(f"sqlite:///{path}")
    client.search_experiments()
    client._tracking_client.store.engine.dispose()
    return path


@pytest.fixture
def make_study(tmp_path):
    """A study on fakes in a folder of its own, telling its console to a file."""

    with (tmp_path / "console.txt").open("a") as stream:
        console = Console(file=stream, width=200)

        def make(scheduler=None, **changes):
            file = study_file(**changes)
            return Study(file, runs=tmp_path / "runs", console=console, functions=fakes.FUNCTIONS, scheduler=scheduler)

        yield make


@pytest.fixture
def folder(tmp_path):
    made = run_dir_of(study_file(), tmp_path / "runs")
    made.prepare()
    return made
