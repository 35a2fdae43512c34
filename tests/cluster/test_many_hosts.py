"""The real thing over network namespaces: skipped without root, iproute2, setpriv, PostgreSQL or psql."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hosts import possible

HERE = Path(__file__).parent
LACKING = [name for name in ("setpriv", "initdb", "postgres", "pg_isready", "psql") if shutil.which(name) is None]


def run(script, tmp_path):
    if reason := possible() or ", ".join(LACKING):
        pytest.skip(f"no hosts here: {reason}")
    command = [sys.executable, str(HERE / script), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]


# slow: five hosts, PostgreSQL, MLflow and six real searches: minutes on two idle cores, ten on busy ones
@pytest.mark.slow
def test_a_study_over_hosts_outlives_a_pulled_cable(tmp_path):
    run("many_hosts.py", tmp_path)


# slow: five commands, each joining a cluster of two hosts: three minutes
@pytest.mark.slow
def test_nodes_that_cannot_run_a_study_are_named(tmp_path):
    run("refusals.py", tmp_path)
