"""The small study, made once and never changed."""

import sys
from pathlib import Path

import pytest

# pytest's importlib mode puts no folder on the path
sys.path.insert(0, str(Path(__file__).parent))

from browse_store import end_study, write_study

from eos_platform.dashboard_data.studies import Studies


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browse")
    end_study(write_study(folder))
    return folder


@pytest.fixture(scope="session")
def studies(store):
    found = Studies(f"sqlite:///{store / 'mlflow.db'}")
    yield found
    found.close()
