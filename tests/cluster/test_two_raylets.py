"""A cluster of two raylets: what the nodes say, and a study that outlives one of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eos_platform.engine.cluster.ray_session import NODE_ENVIRONMENT

SCRIPT = Path(__file__).with_name("two_raylets.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    # before Ray is imported: it reads them then
    env = {**os.environ, **NODE_ENVIRONMENT, "RAY_AUTH_TOKEN": "a token of this test alone, long enough"}
    env["PYTHONPATH"] = os.pathsep.join([str(SCRIPT.parents[1] / "engine"), *sys.path])
    command = [sys.executable, str(SCRIPT), str(folder)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_node_says_what_it_has_and_nothing_is_wrong(found):
    assert len(found["told"]) == 2
    for reported, wrong in found["told"]:
        assert set(reported) == {"python", "ray", "torch", "package", "code", "token", "storage"}
        assert reported["token"] == "yes"
        assert reported["storage"] == "shared"
        assert wrong == []


def test_a_study_outlives_a_node(found):
    assert found["states"] == ["COMPLETE"] * 3
    assert found["numbers"] == [0, 1, 2]
    assert any("left; its searches go on elsewhere" in line for line in found["said"])


def test_labels_choose_among_the_nodes(found):
    assert found["north"] == 1
    assert found["south"] == "resources.labels: no node has zone=south"
