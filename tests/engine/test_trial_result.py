"""A trial's result as data: there and back, flattened by Tune, and as earlier versions wrote it."""

import dataclasses
import json

import engine_fakes as fakes
import pytest
from ray.tune.utils.util import flatten_dict

from eos_platform.engine import trial
from eos_platform.engine.trial import Job, run_trial
from eos_platform.engine.trial_result import KEY, RESULT, find, keep, make, measured, plain, read
from eos_platform.objectives import DEFAULT, parse
from eos_platform.operators.spec import OperatorSpec, Target

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

FOUND = {"final": {"accuracy": 0.5}, "operator": OperatorSpec(target=Target(layers=6, grid=(8, 8))).to_json()}
SEARCH = {"budget": 0.2, "layers": (0, 4)}


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
    kept = json.loads((tmp_path / "trial-3" / RESULT).read_text())
    old = {"final": measured(found), "operator": found.operator, "kept": ""}
    (tmp_path / "trial-3" / RESULT).write_text(json.dumps({**kept, "result": old}))

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


def test_a_result_is_found_by_the_same_search_alone(tmp_path):
    keep(tmp_path, SEARCH, FOUND)
    assert find(tmp_path, SEARCH) == FOUND
    assert find(tmp_path, {**SEARCH, "budget": 0.3}) is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"search": 1}', "\0"])
def test_damaged_files_are_no_results(tmp_path, text):
    (tmp_path / RESULT).write_text(text)
    assert find(tmp_path, SEARCH) is None


@pytest.mark.parametrize(
    "change",
    [
        {"final": None},
        {"final": {"accuracy": "0.5"}},
        {"final": {"accuracy": True}},
        {"final": [0.5]},
        {"operator": None},
        {"operator": "{}"},
        {"operator": FOUND["operator"].replace("6", "-6")},
        {"kept": 3},
    ],
)
def test_a_result_that_no_search_has_is_none(tmp_path, change):
    keep(tmp_path, SEARCH, {**FOUND, **change})
    assert (tmp_path / RESULT).exists()
    assert find(tmp_path, SEARCH) is None


def test_a_result_that_is_no_number_is_not_kept(tmp_path):
    keep(tmp_path, SEARCH, {**FOUND, "final": {"accuracy": float("nan")}})
    assert not (tmp_path / RESULT).exists()
    text = '{"search": {"budget": 0.2, "layers": [0, 4]}, "result": {"final": {"accuracy": NaN}}}'
    (tmp_path / RESULT).write_text(text)
    assert find(tmp_path, SEARCH) is None


def test_a_full_disk_costs_only_the_safety(tmp_path):
    (tmp_path / "file").touch()
    keep(tmp_path / "file", SEARCH, FOUND)  # nothing can be written below a file
    assert find(tmp_path / "file", SEARCH) is None
