"""A trial's result as data: there and back, flattened by Tune, and as earlier versions wrote it."""

import dataclasses

import engine_fakes as fakes
import pytest
from ray.tune.utils.util import flatten_dict

from eos_platform.engine import trial
from eos_platform.engine.store.retry_guard import RESULT, RetryGuard
from eos_platform.engine.trial import Job, run_trial
from eos_platform.engine.trial_result import KEY, make, measured, plain, read
from eos_platform.objectives import DEFAULT, parse

THREE = parse({"accuracy/count": "maximise", "compute_ratio": "minimise", "prefill_ms": "minimise"})
NUMBERS = {
    "accuracy": 0.8,
    "compute_ratio": 0.1,
    "mean_tokens": 20.0,
    "relaxed_accuracy": 0.9,
    "samples": 16.0,
    "seconds": 2.0,
    "accuracy/count": 0.7,
    "prefill_ms": 4.0,
}


def test_a_result_knows_scores_costs_and_notes():
    found = make({**NUMBERS, "tokens_left": None}, THREE, "{}", "prune")
    assert found.values == {"accuracy/count": 0.7, "compute_ratio": 0.1, "prefill_ms": 4.0}
    assert set(found.scores) == {"accuracy", "accuracy/count"}
    assert set(found.costs) == {"compute_ratio", "mean_tokens", "prefill_ms"}
    assert found.notes == {"relaxed_accuracy": 0.9}
    assert (found.samples, found.seconds) == (16, 2.0)
    assert measured(found) == NUMBERS


def test_there_and_back():
    found = make(NUMBERS, THREE, "{}", "prune")
    assert read({KEY: plain(found)}, THREE) == found
    assert read(flatten_dict({"finished": True, KEY: plain(found)}), THREE) == found
    assert read({"finished": True, "step": 3, "curve/accuracy": 0.5}, THREE) is None


def test_results_of_earlier_versions():
    old = {"final": NUMBERS, "operator": "{}", "regime": "prune"}
    assert read(old, THREE) == read(flatten_dict(old), THREE) == make(NUMBERS, THREE, "{}", "prune")


@pytest.mark.parametrize("text", [None, 3, [], {"values": 3}])
def test_what_is_no_result(text):
    assert read({KEY: text}, DEFAULT) is None


def test_a_search_that_an_earlier_version_ended_is_not_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "_workloads", {})
    job = Job("tiny", "fake", "scenes", str(tmp_path), 1, fakes.FUNCTIONS)
    config = {"number": 3, "root": 3, "search": {"steps": 4}}
    reports = []
    run_trial(config, job, reports.append)
    found = read(reports[-1], DEFAULT)
    attempts = RetryGuard(tmp_path / "trial-3", {})
    kept = attempts._read(RESULT)
    attempts._write(RESULT, {**kept, "result": {"final": measured(found), "operator": found.operator, "kept": ""}})

    def never(*args, **options):
        raise AssertionError("it has ended")

    again = []
    job = dataclasses.replace(job, functions=dataclasses.replace(fakes.FUNCTIONS, search=never))
    run_trial(config, job, again.append)
    assert len(again) == 1
    assert read(again[0], DEFAULT) == found


def test_other_objectives_take_no_result_that_lacks_them(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "_workloads", {})
    job = Job("tiny", "fake", "scenes", str(tmp_path), 1, fakes.FUNCTIONS)
    config = {"number": 3, "root": 3, "search": {"steps": 4}}
    run_trial(config, job, lambda values: None)
    reports = []
    run_trial(
        config,
        dataclasses.replace(job, objectives=parse({"accuracy/count": "maximise", "mean_tokens": "minimise"})),
        reports.append,
    )
    assert len(reports) > 1
    assert set(reports[-1][KEY]["values"]) == {"accuracy/count", "mean_tokens"}
