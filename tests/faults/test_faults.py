"""Whatever is killed, nothing finished is lost or done twice, and the three stores agree record by record."""

import os
import random
import shutil
import signal
import time

import pytest
from harness import Subject, expected_of, table, wait_for
from kinds import KINDS
from optuna.trial import TrialState

SOUND = "lost, doubled, left behind or otherwise than without the fault"


@pytest.mark.slow  # a study on a real Ray, killed twice: a minute and a half
def test_a_worker_then_the_driver_killed_in_one_study(tmp_path):
    """The short form: one SIGKILL of each, at random moments of searches under way."""
    changes = {"trials": 4, "search": {"steps": 24}}
    subject, rng = Subject(tmp_path / "hurt", **changes), random.Random()
    driver = subject.drive()
    assert wait_for(lambda: bool(subject.working()), 120), subject.output.read_text()
    time.sleep(rng.uniform(0.0, 1.0))
    for pid in subject.working()[:1]:
        os.kill(pid, signal.SIGKILL)
    assert wait_for(lambda: sum(line["what"] == "begin" for line in subject.executions()) >= 3, 120)
    time.sleep(rng.uniform(0.0, 1.0))
    subject.watch()
    left = subject.kill(driver)
    assert subject.study.check(), "a killed driver cannot tidy up"
    subject.finish()
    outcome = subject.measure(_outcome("worker, then driver"), expected_of(**changes))
    outcome.zombies += len(left)
    assert outcome.sound, f"{SOUND}:\n{table([outcome])}\n{subject.output.read_text()[-3000:]}"
    again = [trial for trial in subject.trials() if "retry_of" in trial.user_attrs]
    assert {trial.state for trial in again} <= {TrialState.COMPLETE}


def _outcome(kind):
    from harness import Outcome

    return Outcome(kind, 1)


COUNTS = {"driver": 20, "worker": 20, "raylet": 3, "mlflow": 2, "postgres": 2, "disk": 2, "real": 2}


@pytest.mark.slow  # twenty kills each, servers away for 15 s at a time: minutes a kind
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_fault(kind, tmp_path):
    if kind == "postgres" and shutil.which("initdb") is None:
        pytest.skip("no PostgreSQL server on this machine")
    if kind == "disk" and os.geteuid() != 0:
        pytest.skip("a small disk cannot be mounted")
    outcome = KINDS[kind](tmp_path, COUNTS.get(kind, 2), random.Random(7))
    assert outcome.sound, f"{SOUND}:\n{table([outcome])}"
