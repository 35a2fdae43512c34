"""Whole studies on a real Ray, a real Optuna and a real MLflow: the three agree, whatever happens to a trial."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import engine_fakes as fakes
import pandas as pd
import pytest
from optuna.trial import TrialState
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from eos_platform.common.errors import EosError
from eos_platform.engine import final_evaluation as finish
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.store.stored_trial import operator_of
from eos_platform.engine.study import known_studies
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tracking import read_study
from eos_platform.tracking.recorder import connect

pytestmark = pytest.mark.usefixtures("ray_local")


class StopsBudget(FIFOScheduler):
    """Stops every search of one budget at its second step."""

    def on_trial_result(self, tune_controller, trial, result):
        stop = trial.config["search"]["budget"] == 0.4 and result.get("step", 0) >= 2
        return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE


@pytest.fixture
def queue(empty_mlflow):
    def fix(study, *searches):
        """Fix what the study's trials will be."""
        study.folder.prepare()
        if not (study.folder.runs / "mlflow.db").exists():
            shutil.copy(empty_mlflow, study.folder.runs)
        with store.open_store(study.folder, create=True) as optuna_study:
            for behaviour, budget in searches:
                optuna_study.enqueue_trial({"search_questions": behaviour, "budget": budget, "learning_rate": 0.05})

    return fix


def trials_of(study):
    with store.open_store(study.folder, create=False) as optuna_study:
        return optuna_study.trials


def runs_of(study):
    return read_study(study.file.name, study.folder.mlflow_uri)


def test_a_study_in_three_stores(make_study, queue):
    study = make_study(StopsBudget(), trials=7)
    queue(
        study,
        (fakes.WELL, 0.1),
        (fakes.NAN, 0.1),
        (fakes.RAISES, 0.1),
        (fakes.MISSING, 0.2),
        (fakes.DIES, 0.2),
        (fakes.SLOW, 0.4),  # stopped early
        (fakes.WELL, 0.05),
    )
    points = study.run()

    trials = trials_of(study)
    states = [trial.state.name for trial in trials]
    assert states == ["COMPLETE", "FAIL", "FAIL", "FAIL", "COMPLETE", "PRUNED", "COMPLETE"]
    assert [trial.user_attrs.get("failure") for trial in trials] == [
        None,
        "accuracy is nan",
        "ValueError: the loss exploded",
        "accuracy is missing",
        None,
        None,
        None,
    ]

    runs = runs_of(study)
    assert list(runs[runs["kind"] == "trial"]["trial"]) == list(range(7))
    runs = runs[runs["kind"] == "trial"].set_index("trial")
    assert list(runs["state"]) == ["complete", "failed", "failed", "failed", "complete", "pruned", "complete"]
    assert list(runs["status"]) == ["FINISHED", "FAILED", "FAILED", "FAILED", "FINISHED", "KILLED", "FINISHED"]
    tune_folders = {path.name for path in study.folder.storage.glob("tune-*/trial-*")}
    for trial in trials:
        run, ray_id = runs.loc[trial.number], trial.user_attrs["ray_trial_id"]
        assert run["run_id"] == trial.user_attrs["mlflow_run_id"]
        assert run["ray_trial_id"] == ray_id
        assert f"trial-{trial.number}-{ray_id}" in tune_folders
        assert float(run["params.budget"]) == trial.params["budget"] == trial.user_attrs["budget"]
        if trial.state == TrialState.COMPLETE:
            assert [run["accuracy"], run["compute_ratio"]] == trial.values
            assert run["operator"].to_json() == operator_of(trial)
            assert run["search/loss"] == 0.25  # of the last of 4 steps
        else:
            assert run["operator"] is None
            assert pd.isna(run["accuracy"])

    # the worker that was killed went on in a new process, under the same number and in the same run
    assert "resumed" not in runs.columns
    assert (study.folder.path / "failures" / "trial-2.txt").read_text().count("the loss")
    assert not (study.folder.storage / "states" / "trial-0").exists()

    front = [0, 4, 6]
    assert set(runs.index[runs["pareto"]]) == set(front)
    assert sorted(points["trial"].dropna()) == front
    assert {*points["family"]} == {"unreduced", "searched", "hand-designed"}
    assert {*points["design"]} == {"", "random", "fastv", "tome", "pool"}
    check_results(study, points)

    # asked again, a finished study runs nothing
    before = study.folder.points.stat().st_mtime_ns
    pd.testing.assert_frame_equal(study.run(), study.points())
    assert study.folder.points.stat().st_mtime_ns == before
    assert len(trials_of(study)) == 7
    assert study.status().remaining == 0


def check_results(study, points):
    folder = study.folder
    pd.testing.assert_frame_equal(study.points(), points, check_dtype=False)
    html = folder.figure.read_text()
    assert "<script src=" not in html
    assert "Plotly.newPlot" in html
    for _, point in points.iterrows():
        assert point["accuracy_low"] <= point["accuracy"] <= point["accuracy_high"]
        assert point["questions"] == 100
        if point["family"] != "unreduced":
            operator = OperatorSpec.load(folder.operators / f"{point['name'].replace(' ', '-')}.json")
            assert operator.mean_tokens == point["mean_tokens"]
    baselines = points[points["family"] == "hand-designed"]
    target = baselines["name"].str.extract(r"at ([\d.]+)$")[0].astype(float)
    assert (baselines["compute_ratio"] <= target + 5e-4).all()
    runs = runs_of(study)
    logged = runs[runs["kind"] == "baseline"].set_index("name")
    others = points[points["family"] != "searched"].set_index("name")
    assert set(logged.index) == set(others.index)
    pd.testing.assert_series_equal(
        logged["heldout_accuracy"].sort_index(), others["accuracy"].sort_index(), check_names=False
    )
    assert not list(folder.path.rglob(".*.csv*")), "a file half written"


@pytest.mark.slow  # two whole studies
def test_more_trials_continue_a_study_where_all_failed(make_study, queue):
    final = {"questions": 20, "baselines": []}
    study = make_study(trials=1, final=final)
    queue(study, (fakes.RAISES, 0.1))
    with pytest.raises(EosError, match="every search failed; first: ValueError: the loss exploded"):
        study.run()
    assert not study.folder.points.exists()
    more = make_study(trials=3, final=final, sampler="random")
    queue(more, (fakes.WELL, 0.4), (fakes.WELL, 0.2))
    points = more.resume()
    assert [trial.state.name for trial in trials_of(more)] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert list(points["family"]) == ["unreduced", "searched", "searched"]
    assert list(runs_of(more)["kind"]) == ["trial", "trial", "trial", "baseline"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "missing"}, "no model folder 'missing'"),
        ({"search": {"layers": [0, 9]}}, r"search.layers: layer 9 is beyond the last decoder layer \(7\) of fake"),
        (
            {"space": {"layers": {"choice": [[0], [8]]}}},
            r"space.layers: layer 8 is beyond the last decoder layer \(7\) of fake",
        ),
        ({"space": {"budget": {"choice": [0.2, 0.0001]}}}, "budget"),
        ({"resources": {"cpu": 1000}}, "resources.cpu: a search wants 1000 cores"),
        ({"final": {"baselines": ["fastvv"]}}, "final.baselines: unknown design 'fastvv'; did you mean 'fastv'"),
        ({"stores": {"mlflow": "http://127.0.0.1:9"}}, "cannot open the MLflow store http://127.0.0.1:9"),
        ({"stores": {"storage": "/dev/null/x"}}, "cannot make the study's folder .*: /dev/null is a file"),
    ],
)
def test_bad_input_leaves_nothing_behind(make_study, tmp_path, request, changes, says):
    if "model" not in changes:  # that one is said by a worker
        request.getfixturevalue("described_here")
    with pytest.raises(EosError, match=says):
        make_study(**changes).run()
    assert not (tmp_path / "runs").exists()


def test_a_store_of_another_study_is_refused(make_study, queue):
    study = make_study()
    queue(study, (fakes.WELL, 0.1))
    with pytest.raises(EosError, match=r"belongs to another study \(search.steps was 4, not 5\)"):
        make_study(search={"steps": 5}).run()
    assert [trial.state for trial in trials_of(study)] == [TrialState.WAITING]
    assert not study.folder.study_file.exists()


def test_resume_needs_a_study_that_began(make_study):
    with pytest.raises(EosError, match="study 'tiny' has not been run"):
        make_study().resume()


@pytest.mark.slow  # two drivers in processes of their own, each with a Ray: 45 s of a core
def test_resume_after_a_kill_and_after_an_interruption(make_study, tmp_path, empty_mlflow):
    """Drivers of their own are killed outright, then stopped by Ctrl-C; nothing finished is lost or done twice."""
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_mlflow, tmp_path / "runs")
    study = make_study(trials=4, final={"questions": 20, "baselines": []})

    finished, _ = drive_until_running(study, signal.SIGKILL)
    assert numbers(study, TrialState.RUNNING), "a killed driver cannot tidy up"
    more, output = drive_until_running(study, signal.SIGINT)
    assert "continuing tiny: " in output
    assert "stopping; unfinished searches will run again when the study is resumed" in output
    assert "eos: stopped; every finished search is kept. Resume with: eos study resume tiny" in output
    assert "Traceback" not in output
    assert not numbers(study, TrialState.RUNNING)
    assert not (runs_of(study)["status"] == "RUNNING").any()
    assert str(study.status()).startswith(f"tiny: {len(more)} of 4 trials")

    study.resume()
    trials = trials_of(study)
    retries = {trial.user_attrs["retry_of"]: trial for trial in trials if "retry_of" in trial.user_attrs}
    assert len(retries) >= 2
    for number, retry in retries.items():
        assert trials[number].state == TrialState.FAIL
        assert trials[number].user_attrs["failure"] == "interrupted"
        assert retry.params == trials[number].params
    assert set(finished) <= set(more) <= set(numbers(study, TrialState.COMPLETE))
    assert [trial.state for trial in stored.finished(trials)] == [TrialState.COMPLETE] * 4
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.FAIL}
    runs = runs_of(study)
    runs = runs[runs["kind"] == "trial"].set_index("trial")
    assert sorted(runs.index) == [trial.number for trial in trials]
    killed = runs[runs["state"] == "interrupted"]
    assert set(killed.index) == set(retries)
    assert set(killed["status"]) == {"KILLED"}
    assert {*runs.loc[[retry.number for retry in retries.values()], "retry_of"]} == set(retries)


def drive_until_running(study, end):
    """Run a driver until a search has finished and another runs, then end it: what had finished, what it said."""
    driver = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("engine_driver.py")), str(study.folder.runs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    begun = len(trials_of(study)) if study.folder.study_file.exists() else 0
    wait_for(
        lambda: (
            study.folder.study_file.exists()
            and numbers(study, TrialState.COMPLETE)
            and max(numbers(study, TrialState.RUNNING), default=-1) >= begun
        ),
        driver,
    )
    finished = numbers(study, TrialState.COMPLETE)
    os.killpg(driver.pid, end)
    output = driver.communicate(timeout=240)[0]
    assert driver.returncode == (130 if end == signal.SIGINT else -end), output
    return finished, output


def numbers(study, state):
    return [trial.number for trial in trials_of(study) if trial.state == state]


def wait_for(condition, driver, seconds=240):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert driver.poll() is None, driver.communicate()[0]
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that")


@pytest.fixture
def full_disk(monkeypatch):
    """A disk without room for the final figure (a file size limit: real writes fail) until it is lifted."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    made = finish.alone

    def fill(figure):
        html = made(figure)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(html) // 2, limit[1]))
        return html

    monkeypatch.setattr(finish, "alone", fill)

    def lift():
        monkeypatch.setattr(finish, "alone", made)
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    yield lift
    lift()


@pytest.mark.slow  # two whole studies
def test_a_disk_that_is_full_at_the_very_end(make_study, queue, full_disk):
    study = make_study(trials=2)
    queue(study, (fakes.WELL, 0.1), (fakes.WELL, 0.4))
    with pytest.raises(EosError, match=r"final comparison is missing \(cannot write .*pareto.html: File too large\)"):
        study.run()
    full_disk()
    assert not study.folder.figure.exists()
    assert not list(study.folder.path.glob(".*"))
    assert (study.status().remaining, study.status().compared) == (0, False)
    assert "the final comparison is missing; eos study resume tiny makes it" in str(study.status())
    assert [line[3] for line in known_studies(study.folder.runs) if line[0] == "tiny"] == ["unfinished"]
    assert connect(study.folder.mlflow_uri).search_experiments()
    assert len(trials_of(study)) == 2
    points = study.resume()
    assert len(trials_of(study)) == 2, "no search was done again"
    assert study.folder.figure.exists()
    assert {"unreduced", "searched"} <= set(points["family"])
    assert str(study.status()).endswith("finished")
    assert study.check() == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), EosError("a worker died")])
def test_whatever_ends_the_comparison_says_how_to_go_on(make_study, error):
    says = r"the final comparison is missing \(.*\); every search is kept, and eos study resume tiny makes"
    with pytest.raises(EosError, match=says), make_study()._explain_failure():
        raise error
