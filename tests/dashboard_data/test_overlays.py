"""Example pictures are worked out in a process of their own: the dashboard's stays small, and outlives it."""

import json
import subprocess
import sys

import pytest
from browse_store import end_study, spec_of, write_study

from eos_platform.dashboard_data.overlays import Overlays, kept_rows, on_pictures

LIGHT = """
import sys
from eos_platform.dashboard_data.studies import Studies
from eos_platform.dashboards.app import make_app
studies = Studies(sys.argv[1])
key = studies.operators("small").query("front")["key"].iloc[0]
make_app(studies)
studies.diagram("small", key), studies.commands("small", key), studies.importance("small"), studies.listing()
assert studies.overlay("small", key, wait=True)["pictures"]
print(sorted({"torch", "transformers", "ray", "mlflow", "scipy.stats", "sklearn", "matplotlib"} & set(sys.modules)))
studies.close()
"""


@pytest.fixture(scope="module")  # its worker takes seconds to start
def overlays():
    found = Overlays()
    yield found
    found.close()


def test_a_dashboard_over_a_store_loads_neither_torch_nor_mlflow(tmp_path):
    end_study(write_study(tmp_path, pictures=False))
    pytest.importorskip("dash")
    command = [sys.executable, "-c", LIGHT, f"sqlite:///{tmp_path / 'mlflow.db'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"


def test_a_worker_that_has_ended_is_started_again(overlays):
    first = overlays.get("bundled-small", "scenes", spec_of(0), wait=True)
    assert len(first["sites"][0]) == 2
    for picture, answer in zip(first["pictures"], first["answers"], strict=True):  # of the deployed operator
        assert (answer["given"] == picture["answer"]) == (answer["worth"] == 1.0)
    overlays._worker.kill()
    overlays._worker.wait()
    again = overlays.get("bundled-small", "scenes", spec_of(1, keep=30), wait=True)
    assert again["pictures"] == first["pictures"]
    assert len(again["sites"][0][0]["origin"]) == 30


def test_what_goes_wrong_there_is_a_line_here(overlays):
    assert "no-such-task" in overlays.get("bundled-small", "no-such-task", spec_of(0), wait=True)
    assert overlays.get("someones/llava", "scenes", spec_of(0), wait=True).startswith("Not recorded")
    assert overlays.get("bundled-small", "scenes", spec_of(0), wait=True)["sites"]  # the next one is none the worse


EXAMPLES = [{"text": text, "answer": "two", "png": f"data:{text}", "grid": [1, 2], "skill": "x"} for text in ("a", "b")]


def test_recorded_answers_are_put_to_their_pictures(overlays):
    kept = json.dumps(
        {"examples": EXAMPLES, "sites": [[{"origin": [0], "size": [2.0]}], [{"origin": [1], "size": [2.0]}]]}
    )
    given = [{"given": "two", "worth": 1.0}, {"given": "three", "worth": 0.0}]
    answers = json.dumps({"examples": EXAMPLES[::-1], "answers": given})
    held = overlays.recorded(kept, answers)
    assert [one["given"] for one in held["answers"]] == ["three", "two"]
    rows = kept_rows("mine", on_pictures(held, EXAMPLES[1:]), 0.2)
    assert [(row["given"], row["worth"], row["origin"]) for row in rows] == [("two", 1.0, [1])]
    # nothing is removed: all of the picture stays
    whole = overlays.recorded(None, answers)
    assert whole["sites"][0][-1] == {"origin": [0, 1], "size": [1.0, 1.0]}
    assert [answer["given"] for answer in whole["answers"]] == ["two", "three"]
    assert overlays.recorded(kept)["sites"] == held["sites"]
    assert overlays.recorded("{", answers) is None
    assert overlays.recorded(None, None) is None
