"""Optuna, MLflow and Ray's files, made to agree and compared: the Optuna store decides.

``mend`` is run when a driver begins and when it ends. ``differences`` reads all three record by record and says what
does not fit; it mends nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import optuna
from mlflow import MlflowClient
from mlflow.entities import Param, Run
from optuna.trial import FrozenTrial, TrialState

from eos_platform.common import strict_json
from eos_platform.common.addresses import masked
from eos_platform.common.errors import EosError
from eos_platform.common.former_names import SEARCH
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import snapshots
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.store.run_dir import RunDir
from eos_platform.engine.store.stored_trial import row_of, rows_of
from eos_platform.tracking import names
from eos_platform.tracking.client import TROUBLE, connect, first_line, search_runs
from eos_platform.tracking.recorder import Recorder

_CLOSED = {"complete": "FINISHED", "pruned": "KILLED", "interrupted": "KILLED", "failed": "FAILED"}


def repair(run_dir: RunDir, optuna_study: optuna.Study, recorder: Recorder) -> int:
    """Settle what dead drivers left open, in all three. How many searches are to be run again.

    Only for the driver that holds the study.
    """
    lost = store.requeue_lost_trials(optuna_study)
    trials = optuna_study.get_trials(deepcopy=False)
    _drop_duplicates(optuna_study, trials, recorder)
    _give_params(run_dir, trials, recorder)
    recorder.reconcile(rows_of(run_dir.study, trials))
    store.join_runs(optuna_study, {number: run.info.run_id for number, run in recorder.trial_runs().items()})
    snapshots.close(run_dir.storage, trials)
    return lost


def _drop_duplicates(optuna_study: optuna.Study, trials: list[FrozenTrial], recorder: Recorder) -> None:
    """A server that went away after it made a run was asked again: one of the runs is the trial's."""
    numbered = {trial.number: trial for trial in trials}
    for number, runs in _runs(recorder.client, recorder.experiment.experiment_id, recorder.uid).items():
        mine = store.run_id(optuna_study, numbered[number]) if number in numbered else None
        keep = next((run for run in runs if run.info.run_id == mine), runs[-1])  # the newest come first
        for run in runs:
            if run is not keep:
                recorder.client.set_terminated(run.info.run_id, "KILLED")
                recorder.client.delete_run(run.info.run_id)


def _give_params(run_dir: RunDir, trials: list[FrozenTrial], recorder: Recorder) -> None:
    """A driver may have died after it made a run and before it said what the run is of."""
    runs = recorder.trial_runs()
    for row in rows_of(run_dir.study, trials):
        run = runs.get(row.number)
        given = {} if run is None else SEARCH.latest(run.data.params)
        missing = {} if run is None else {name: row.params[name] for name in row.params.keys() - given.keys()}
        if run and missing:
            recorder.client.log_batch(
                run.info.run_id, params=[Param(name, _text(value)) for name, value in missing.items()]
            )


def _runs(client: MlflowClient, experiment_id: str, uid: str) -> dict[int, list[Run]]:
    query = f"tags.`{names.UID}` = '{uid}' and tags.`{names.KIND}` = 'trial'"
    runs: dict[int, list[Run]] = defaultdict(list)
    for run in search_runs(client, experiment_id, query):
        runs[int(run.data.tags[names.TRIAL])].append(run)
    return dict(runs)


def differences(run_dir: RunDir, optuna_study: optuna.Study) -> list[str]:
    """What does not fit, one line each, for a study that no driver is running.

    Raises:
        EosError: MLflow cannot be read.
    """
    trials = [trial for trial in optuna_study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]
    try:
        client = connect(run_dir.mlflow_uri)
        in_mlflow = list(_in_mlflow(run_dir, optuna_study, trials, client))
    except TROUBLE as error:
        raise EosError(f"cannot read the MLflow store {masked(run_dir.mlflow_uri)}: {first_line(error)}") from None
    return [*_in_optuna(trials), *in_mlflow, *_in_ray(run_dir, trials)]


def _in_optuna(trials: list[FrozenTrial]) -> Iterator[str]:
    """Zombies, and searches with more than one result."""
    again = stored.retried(trials)
    results: dict[int, list[int]] = defaultdict(list)
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            yield f"optuna: trial {trial.number} is RUNNING"
        if trial.number in again and not trial.user_attrs.get(stored.AGAIN):
            yield f"optuna: trial {trial.number} ended ({trial.state.name}) and was run again"
    for trial in stored.finished(trials):
        results[stored.root(trials, trial.number)].append(trial.number)
    for root, numbers in results.items():
        if len(numbers) > 1:
            yield f"optuna: search {root} has {len(numbers)} results: trials {numbers}"


def _in_mlflow(
    run_dir: RunDir, optuna_study: optuna.Study, trials: list[FrozenTrial], client: MlflowClient
) -> Iterator[str]:
    experiment, uid = client.get_experiment_by_name(run_dir.study.name), optuna_study.user_attrs[store.UID]
    runs_by_number = _runs(client, experiment.experiment_id, uid) if experiment else {}
    parents = search_runs(client, experiment.experiment_id, f"tags.`{names.UID}` = '{uid}'") if experiment else []
    for run in parents:
        if run.data.tags.get(names.KIND) != "trial" and run.info.status == "RUNNING":
            yield f"mlflow: the {run.data.tags.get(names.KIND)} run {run.info.run_name!r} is RUNNING"
    numbers = {trial.number for trial in trials}
    for number in runs_by_number.keys() - numbers:
        yield f"mlflow: a run of trial {number}, which Optuna does not have"
    for trial in trials:
        runs = runs_by_number.get(trial.number, [])
        if len(runs) != 1:
            yield f"mlflow: trial {trial.number} has {len(runs)} runs"
            continue
        yield from (
            f"mlflow: trial {trial.number}: {what}" for what in _in_run(run_dir, optuna_study, trial, runs[0], client)
        )


def _in_run(
    run_dir: RunDir, optuna_study: optuna.Study, trial: FrozenTrial, run: Run, client: MlflowClient
) -> Iterator[str]:
    row, tags = row_of(run_dir.study, trial), run.data.tags
    if (mine := store.run_id(optuna_study, trial)) != run.info.run_id:
        yield f"run {run.info.run_id}, not {mine}"
    expected: dict[str, Any] = {
        names.RAY_ID: row.ray_id,
        names.RETRY_OF: None if row.retry_of is None else str(row.retry_of),
        names.STATE: row.state,
        names.FAILURE: row.failure,
        names.REGIME: row.regime,
    }
    for tag, value in expected.items():
        if (tags.get(tag) or None) != (value or None):
            yield f"{tag} is {tags.get(tag)!r}, not {value!r}"
    if run.info.status != _CLOSED.get(row.state, "RUNNING"):
        yield f"status is {run.info.status}, not {_CLOSED.get(row.state, 'RUNNING')}"
    params = {name: _text(value) for name, value in row.params.items()}
    yield from _unequal("parameter", params, SEARCH.latest(run.data.params))
    renamed = {names.RELAXED_ACCURACY: names.curve(names.RELAXED_ACCURACY)}
    measured = {renamed.get(name, name): value for name, value in row.measured.items()}
    yield from _unequal("metric", measured, run.data.metrics)
    if row.state != "complete" and names.ACCURACY in run.data.metrics and names.ACCURACY not in measured:
        yield "an accuracy that Optuna does not have"
    kept = {file.path for file in client.list_artifacts(run.info.run_id)}
    if (row.operator is not None) != (names.OPERATOR_FILE in kept):
        yield "the operator file is missing" if row.operator else "an operator file that Optuna does not have"


def _unequal(what: str, wanted: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[str]:
    for name, value in wanted.items():
        if there.get(name) != value:
            yield f"{what} {name} is {there.get(name)!r}, not {value!r}"


def _text(value: Any) -> str:
    return strict_json.dumps(value) if isinstance(value, (list, tuple, dict)) else str(value)


def _in_ray(run_dir: RunDir, trials: list[FrozenTrial]) -> Iterator[str]:
    """Ray's files lag seconds behind a kill: what they have must fit, what they lack says nothing."""
    known = {trial.user_attrs[stored.RAY_ID]: trial for trial in trials if stored.RAY_ID in trial.user_attrs}
    for ray_id, one in snapshots.read(run_dir.storage).items():
        trial = known.get(ray_id)
        if trial is None:
            yield f"ray: trial {ray_id} (number {one.number}), which Optuna does not have"
        elif trial.number != one.number:
            yield f"ray: trial {ray_id} is number {one.number}, not {trial.number}"
        elif one.status in snapshots.OPEN:
            yield f"ray: trial {one.number} is {one.status}"
        elif (one.status == "TERMINATED") != stored.ended_well(trial):
            yield f"ray: trial {one.number} is {one.status}, in Optuna {trial.state.name}"
