"""Example pictures are worked out in a process of their own: the dashboard's stays small, and outlives it."""

import subprocess
import sys

import pytest
from browse_store import spec_of

from eos_platform.dashboard_data.overlays import Overlays

LIGHT = """
import sys
from eos_platform.dashboard_data.studies import Studies
from eos_platform.dashboards.app import make_app
studies = Studies(sys.argv[1])
key = studies.operators("small").query("front")["key"].iloc[0]
make_app(studies)
studies.diagram("small", key), studies.commands("small", key), studies.importance("small"), studies.listing()
assert studies.overlay("small", key, wait=True)["pictures"]
print(sorted({"torch", "transformers", "ray"} & set(sys.modules)))
studies.close()
"""


@pytest.fixture
def overlays():
    found = Overlays()
    yield found
    found.close()


def test_a_dashboard_over_a_store_loads_no_torch(store):
    pytest.importorskip("dash")
    command = [sys.executable, "-c", LIGHT, f"sqlite:///{store / 'mlflow.db'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"


def test_a_worker_that_has_ended_is_started_again(overlays):
    first = overlays.get("bundled-small", "scenes", spec_of(0), wait=True)
    assert len(first["sites"][0]) == 2
    overlays._worker.kill()
    overlays._worker.wait()
    again = overlays.get("bundled-small", "scenes", spec_of(1, keep=30), wait=True)
    assert again["pictures"] == first["pictures"]
    assert len(again["sites"][0][0]["origin"]) == 30


def test_what_goes_wrong_there_is_a_line_here(overlays):
    assert "no-such-task" in overlays.get("bundled-small", "no-such-task", spec_of(0), wait=True)
    assert overlays.get("someones/llava", "scenes", spec_of(0), wait=True).startswith("Not recorded")
    assert overlays.get("bundled-small", "scenes", spec_of(0), wait=True)["sites"]  # the next one is none the worse
