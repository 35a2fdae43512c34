"""An MLflow store for the folder: making one takes seconds, every test has a study of its own in it."""

import pytest

from eos_platform.tracking.recorder import Recorder


@pytest.fixture(scope="session")
def uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def make_recorder(uri, tmp_path, request):
    def make(uid="one"):
        return Recorder(uri, request.node.name, uid, (tmp_path / "artifacts").as_uri())

    return make
