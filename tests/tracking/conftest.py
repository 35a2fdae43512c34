"""An MLflow store for the folder: making one takes seconds, every test has a study of its own in it."""

import sys
from pathlib import Path

import pytest

# pytest's importlib mode puts no folder on the path
sys.path.insert(0, str(Path(__file__).parent))

from eos_platform.tracking.recorder import Recorder


@pytest.fixture(scope="session")
def uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def make_recorder(uri, tmp_path, request):
    def make(uid="one"):
        return Recorder(uri, request.node.name, uid, (tmp_path / "artifacts").as_uri())

    return make
