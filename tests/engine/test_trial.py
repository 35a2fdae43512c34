"""One trial, without Ray: what it reports, whatever the search does."""

import dataclasses
import errno
import json

import engine_fakes as fakes
import numpy as np
import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.engine import trial
from eos_platform.engine.trial import Functions, Job, describe, examine_operator, run_trial
from eos_platform.engine.trial_result import measured, read
from eos_platform.objectives import DEFAULT
from eos_platform.search.checkpoint import FILE, Unusable
from eos_platform.search.config import SearchConfig


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "_workloads", {})
    return Job("tiny", "fake", "scenes", str(tmp_path / "states"), 1, fakes.FUNCTIONS)


def run(job, number=3, root=3, **search):
    reports = []
    run_trial({"number": number, "root": root, "search": {"steps": 4, **search}}, job, reports.append)
    return reports


def test_steps_then_one_final_report(job):
    *steps, final = run(job, budget=0.25, search_questions=fakes.WELL)
    assert [report["step"] for report in steps] == [1, 2, 3, 4]
    assert all(report["steps"] == 4 and report["curve"]["soft_compute_ratio"] == 0.25 for report in steps)
    assert final["finished"]
    found = read(final, DEFAULT)
    assert set(measured(found)) >= {"accuracy", "compute_ratio", "mean_tokens", "relaxed_accuracy", "seconds"}
    assert found.values == {"accuracy": found.scores["accuracy"], "compute_ratio": found.costs["compute_ratio"]}
    operator = json.loads(found.operator)
    assert operator["name"] == "tiny-3"
    assert operator["provenance"] == {"study": "tiny", "trial": 3}
    assert found.regime == "prune"


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (fakes.RAISES, "ValueError: the loss exploded"),
        (fakes.BAD_INPUT, "batch_size: more than the questions there are"),
    ],
)
def test_a_search_that_raises_is_a_result_in_one_line(job, behaviour, says):
    (report,) = run(job, search_questions=behaviour)
    assert report["failure"] == says
    assert report["finished"]
    assert "Traceback" in report["traceback"]


def test_values_the_search_refuses_are_a_result_too(job):
    (report,) = run(job, budget=7.0)
    assert "budget" in report["failure"]


def test_missing_and_nan_objectives_are_passed_on(job):
    assert "accuracy" not in run(job, search_questions=fakes.MISSING)[-1]["result"]["scores"]
    assert np.isnan(run(job, search_questions=fakes.NAN)[-1]["result"]["values"]["accuracy"])


def test_stopping_comes_through(job):
    """Tune stops a trial by SystemExit out of the report."""

    def report(values):
        raise SystemExit

    with pytest.raises(SystemExit):
        run_trial({"number": 0, "root": 0, "search": {"steps": 4, "search_questions": 1}}, job, report)


def test_a_broken_accelerator_kills_the_worker(job):
    def broken(*args, **options):
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(torch.AcceleratorError):
        run(dataclasses.replace(job, functions=Functions(fakes.load, broken, fakes.evaluate)))


def test_the_model_is_loaded_once_a_process(job):
    loads = []

    def load(model, task):
        loads.append(model)
        return fakes.load(model, task)

    counted = dataclasses.replace(job, functions=Functions(load, fakes.search, fakes.evaluate))
    run(counted, root=1)
    run(counted, root=2)
    describe(counted)
    assert loads == ["fake"]


def test_an_impossible_budget_is_found_by_the_worker(job):
    facts = describe(job, [SearchConfig(budget=0.2), SearchConfig(budget=0.0001)])
    assert "budget" in facts.refused
    assert not describe(job, [SearchConfig(budget=0.2)]).refused


def test_a_reused_process_starts_from_the_same_random_state(job):
    seen = []

    def search(workload, config, **options):
        seen.append((torch.rand(1).item(), np.random.rand()))
        return fakes.search(workload, config, **options)

    seeded = dataclasses.replace(job, functions=Functions(fakes.load, search, fakes.evaluate))
    run(seeded, root=1)
    run(seeded, root=2)
    run(seeded, root=3, seed=1)
    assert seen[0] == seen[1] != seen[2]


def test_a_retry_finds_the_state_of_the_first(job, tmp_path):
    run(job, number=2, root=2)
    assert (tmp_path / "states" / "trial-2" / "begun").exists()
    run(job, number=5, root=2)
    assert [path.name for path in (tmp_path / "states").iterdir()] == ["trial-2"]


def test_a_search_that_ended_before_its_driver_died_is_not_run_again(job):
    *_, first = run(job, number=2, root=2)
    again = run(job, number=5, root=2)
    assert len(again) == 1, "no step is done twice"
    assert measured(read(again[0], DEFAULT)) == measured(read(first, DEFAULT))
    assert json.loads(again[0]["result"]["operator"])["provenance"] == {"study": "tiny", "trial": 5}
    assert len(run(job, number=6, root=2, budget=0.4)) > 1, "another search's result is not taken"


def test_another_models_result_is_not_taken(job):
    run(job, number=2, root=2)
    assert len(run(dataclasses.replace(job, model="other"), number=5, root=2)) > 1


def test_a_damaged_state_costs_its_steps_not_the_search(job, tmp_path):
    def search(workload, config, *, report, checkpoint):
        if (checkpoint / FILE).exists():
            raise Unusable(f"{checkpoint / FILE}: not a search checkpoint")
        return fakes.search(workload, config, report=report, checkpoint=checkpoint)

    (tmp_path / "states" / "trial-3").mkdir(parents=True)
    (tmp_path / "states" / "trial-3" / FILE).write_bytes(b"")  # as a machine that lost its power leaves it
    *_, last = run(dataclasses.replace(job, functions=dataclasses.replace(fakes.FUNCTIONS, search=search)))
    assert "failure" not in last
    assert last["result"]["scores"]["accuracy"] > 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_no_result_of_the_search(job, number):
    def search(*args, **options):
        try:
            raise OSError(number, "full")
        except OSError as error:
            raise EosError("cannot write the state") from error

    (report,) = run(dataclasses.replace(job, functions=dataclasses.replace(fakes.FUNCTIONS, search=search)))
    assert report["again"]


def test_the_examiner_answers_in_question_order(job):
    said = dataclasses.replace(job.functions, answers=lambda workload, operator: "[]")
    number, measured = examine_operator(dataclasses.replace(job, functions=said), 50, 4, None)
    assert measured.answers == "[]"
    assert number == 4
    assert measured.scores.dtype == float
    assert len(measured.scores) == 50
    assert measured.accuracy == measured.scores.mean()
