"""MLflow behind the driver's back: in order, in few writes, and none lost while the server is away."""

import threading
import time
from types import SimpleNamespace

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from eos_platform.engine.sync import mlflow_writer as module
from eos_platform.engine.sync.mlflow_writer import MlflowWriter
from eos_platform.tracking.rows import TrialRow


class FakeRecorder:
    """Notes what it is told; ``down`` and it raises."""

    def __init__(self):
        self.down, self.calls, self.made = False, [], {}
        self.client = SimpleNamespace(log_batch=self._log)

    def _up(self):
        if self.down:
            raise MlflowException("refused\nmore")

    def trial_runs(self):
        self._up()
        return {number: SimpleNamespace(info=SimpleNamespace(run_id=run)) for number, run in self.made.items()}

    def start_trial(self, row):
        self._up()
        self.made[row.number] = f"run-{row.number}"
        self.calls.append(("start", row.number))
        return self.made[row.number]

    def _log(self, run, metrics):
        self._up()
        self.calls.append(("curves", run, [(metric.key, metric.step) for metric in metrics]))

    def finish_trial(self, run, row, trace, kept):
        self._up()
        self.calls.append(("finish", run, row.state, trace))

    def mark_front(self, numbers):
        self._up()
        self.front = list(numbers)


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 20.0)
    return FakeRecorder()


def row(state="running", number=3):
    return TrialRow(number=number, state=state)


def test_reports_that_come_together_go_out_together(recorder, monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 30.0)  # until the end of the trial
    with MlflowWriter(recorder) as mlflow_writer:
        mlflow_writer.start(row())
        assert mlflow_writer.run_of(3, 30.0) == "run-3"
        for step in range(1, 5):
            mlflow_writer.curves(3, step, {"loss": 1.0})
        mlflow_writer.finish(row("complete"), None, front=[3])
    assert recorder.front == [3]
    assert recorder.calls == [
        ("start", 3),
        ("curves", "run-3", [("search/loss", step) for step in range(1, 5)]),
        ("finish", "run-3", "complete", None),
    ]


def test_a_trial_whose_worker_was_lost_before_it_began_has_a_run(recorder):
    with MlflowWriter(recorder) as mlflow_writer:
        mlflow_writer.finish(row("failed"), front=[])
        mlflow_writer.start(row())  # once more, on another worker
        mlflow_writer.finish(row("complete"), front=[3])
    assert [call[:2] for call in recorder.calls if call[0] == "start"] == [("start", 3)]
    assert recorder.calls[-1] == ("finish", "run-3", "complete", None)
    assert recorder.front == [3]


def test_a_server_that_is_away_misses_nothing(recorder):
    said = []
    recorder.down = True
    with MlflowWriter(recorder, said.append) as mlflow_writer:
        begun = time.monotonic()
        mlflow_writer.start(row())
        for step in range(1, 4):
            mlflow_writer.curves(3, step, {"loss": 1.0})
        mlflow_writer.finish(row("failed"), "Traceback")
        assert mlflow_writer.run_of(3, 30.0) is None
        assert time.monotonic() - begun < 20  # a search does not wait for it
        recorder.down = False
    assert recorder.calls == [
        ("start", 3),
        ("curves", "run-3", [("search/loss", step) for step in range(1, 4)]),
        ("finish", "run-3", "failed", "Traceback"),
    ]
    assert said == [
        "MLflow cannot be written (MlflowException: refused); what it misses is kept for it",
        "MLflow can be written again",
    ]


def test_a_run_made_by_a_server_that_went_before_it_said_so_is_taken(recorder):
    once = [True]
    real = recorder.start_trial

    def start(given):
        found = real(given)
        if once.pop() if once else False:
            raise MlflowException("connection lost")
        return found

    recorder.start_trial = start
    with MlflowWriter(recorder) as mlflow_writer:
        mlflow_writer.start(row())
        mlflow_writer.finish(row("complete"))
    assert [calls[0] for calls in recorder.calls] == ["start", "finish"]


def test_a_run_that_somebody_deleted_is_no_outage(recorder):
    real, said = recorder.client.log_batch, []

    def log(run, metrics):
        if run == "run-3":
            raise MlflowException("The run run-3 must be in the 'active' state", INVALID_PARAMETER_VALUE)
        real(run, metrics)

    recorder.client.log_batch = log
    with MlflowWriter(recorder, said.append) as mlflow_writer:
        for number in (3, 4):
            mlflow_writer.start(row(number=number))
            mlflow_writer.curves(number, 1, {"loss": 1.0})
        assert mlflow_writer.run_of(4) == "run-4"
    assert said == [
        "trial 3 cannot be written to MLflow (MlflowException: The run run-3 must be in the 'active' state)"
    ]
    assert mlflow_writer.run_of(3) is None, "the study's end makes another"
    assert ("curves", "run-4", [("search/loss", 1)]) in recorder.calls


def test_a_run_that_cannot_be_written_stands_in_no_other_ones_way(recorder):
    real, said = recorder.start_trial, []

    def start(given):
        if given.number == 3:
            raise TypeError("no such thing")
        return real(given)

    recorder.start_trial = start
    with MlflowWriter(recorder, said.append) as mlflow_writer:
        for number in (3, 4):
            mlflow_writer.start(row(number=number))
            mlflow_writer.curves(number, 1, {"loss": 1.0})
            mlflow_writer.finish(row("complete", number))
        assert mlflow_writer.run_of(3) is None
    assert [calls[0] for calls in recorder.calls] == ["start", "curves", "finish"]
    assert said == ["trial 3 cannot be written to MLflow (TypeError: no such thing)"]


def test_a_server_that_stays_away_is_given_up_and_nothing_is_written_later(recorder, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    real, asked = recorder.start_trial, threading.Event()

    def slow(given):
        asked.set()
        time.sleep(1.0)  # as MLflow's client, which tries again by itself
        return real(given)

    recorder.start_trial = slow
    with MlflowWriter(recorder) as mlflow_writer:
        for number in (3, 4, 5):
            mlflow_writer.start(row(number=number))
        assert asked.wait(30)
    calls = list(recorder.calls)
    assert calls == [("start", 3)], "what it was asked already is waited for, no more is asked"
    time.sleep(0.3)
    assert recorder.calls == calls
    assert not any(thread.name == "mlflow" for thread in threading.enumerate())
