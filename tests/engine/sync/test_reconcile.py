"""The three stores, made to agree after a kill, and compared record by record."""

import json

import pytest
from engine_fakes import study_file
from mlflow import MlflowClient
from optuna.trial import TrialState

from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import snapshots
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.store.stored_trial import row_of
from eos_platform.engine.strategy.searcher import StudySearcher
from eos_platform.engine.sync import reconcile
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tracking.recorder import Recorder

OPERATOR = OperatorSpec(target={"layers": 8, "grid": (24, 24), "model": "fake"}).to_json()
WELL = {
    "finished": True,
    "final/accuracy": 0.8,
    "final/compute_ratio": 0.04,
    "operator": OPERATOR,
    "regime": "identity",
}


@pytest.fixture
def optuna_study(folder, empty_mlflow):
    (folder.runs / "mlflow.db").write_bytes(empty_mlflow.read_bytes())
    with store.open_store(folder, create=True) as study:
        yield study


@pytest.fixture
def recorder(folder, optuna_study):
    return Recorder(folder.mlflow_uri, folder.study.name, optuna_study.user_attrs[store.UID], folder.mlflow_artifacts)


@pytest.fixture
def killed(folder, optuna_study, recorder):
    """What a driver left: a trial that ended and was never written, one under way, one without a run."""
    searcher = StudySearcher(optuna_study, study_file().space, study_file().search)
    configs = [searcher.suggest(name) for name in ("ended", "running", "bare")]
    for name in ("ended", "running"):
        frozen = searcher.frozen(name)
        run = recorder.start_trial(row_of(folder.study, frozen))
        searcher.live[name].set_user_attr(stored.RUN_ID, run)
    searcher.on_trial_complete("ended", WELL)
    snapshot(folder, {name: (config["number"], "RUNNING") for name, config in zip(searcher.live, configs, strict=True)})
    return searcher


def snapshot(folder, trials):
    """Ray Tune's file, as a killed driver leaves it."""
    path = folder.storage / "tune-1" / "experiment_state-2026.json"
    for ray_id, (number, _) in trials.items():
        (path.parent / f"trial-{number}-{ray_id}").mkdir(parents=True)
    data = [
        [json.dumps({"trial_id": ray_id, "status": status, "config": {"number": number}}), json.dumps({})]
        for ray_id, (number, status) in trials.items()
    ]
    path.write_text(json.dumps({"trial_data": data, "stats": {}}))


def test_what_a_killed_driver_left_is_found_and_mended(folder, optuna_study, recorder, killed):
    before = "\n".join(reconcile.differences(folder, optuna_study))
    assert "optuna: trial 1 is RUNNING" in before
    assert "mlflow: trial 0: status is RUNNING, not FINISHED" in before
    assert "mlflow: trial 2 has 0 runs" in before
    assert "ray: trial 0 is RUNNING" in before
    assert "the study run 'tiny' is RUNNING" in before

    assert reconcile.repair(folder, optuna_study, recorder) == 2
    recorder.close("KILLED")
    assert reconcile.differences(folder, optuna_study) == []
    states = [trial.state for trial in optuna_study.trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL, TrialState.WAITING, TrialState.WAITING]
    assert {one.status for one in snapshots.read(folder.storage).values()} == {"TERMINATED", "ERROR"}
    # the run made after its trial had ended is joined by the study
    assert store.run_id(optuna_study, optuna_study.trials[2]) == recorder.trial_runs()[2].info.run_id

    assert reconcile.repair(folder, optuna_study, recorder) == 0, "once is enough"
    assert len(optuna_study.trials) == 5


def test_a_run_made_twice_is_the_trials_once(folder, optuna_study, recorder, killed):
    mine = store.run_id(optuna_study, optuna_study.trials[0])
    recorder.start_trial(row_of(folder.study, optuna_study.trials[0]))
    reconcile.repair(folder, optuna_study, recorder)
    assert recorder.trial_runs()[0].info.run_id == mine


def test_a_run_whose_driver_died_before_its_parameters(folder, optuna_study, recorder, killed):
    run = MlflowClient(folder.mlflow_uri).create_run(
        recorder.experiment.experiment_id,
        tags={"eos.study_uid": recorder.uid, "eos.kind": "trial", "eos.trial": "2", "eos.ray_trial_id": "bare"},
    )
    reconcile.repair(folder, optuna_study, recorder)
    assert recorder.trial_runs()[2].info.run_id == run.info.run_id
    recorder.close("KILLED")
    assert reconcile.differences(folder, optuna_study) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda client, run: client.log_metric(run, "accuracy", 0.9), "metric accuracy is 0.9, not 0.8"),
        (lambda client, run: client.set_tag(run, "eos.state", "failed"), "eos.state is 'failed', not 'complete'"),
        (lambda client, run: client.set_terminated(run, "FAILED"), "status is FAILED, not FINISHED"),
        (lambda client, run: client.delete_run(run), "trial 0 has 0 runs"),
    ],
)
def test_any_difference_is_seen(folder, optuna_study, recorder, killed, change, says):
    reconcile.repair(folder, optuna_study, recorder)
    change(recorder.client, store.run_id(optuna_study, optuna_study.trials[0]))
    assert any(says in line for line in reconcile.differences(folder, optuna_study))


def test_a_trial_of_ray_alone_is_seen(folder, optuna_study, recorder, killed):
    snapshot_of = folder.storage / "tune-2"
    snapshot_of.mkdir()
    entry = {"trial_id": "stray", "status": "TERMINATED", "config": {"number": 9}}
    (snapshot_of / "experiment_state-1.json").write_text(json.dumps({"trial_data": [[json.dumps(entry), "{}"]]}))
    reconcile.repair(folder, optuna_study, recorder)
    assert "ray: trial stray (number 9), which Optuna does not have" in reconcile.differences(folder, optuna_study)
