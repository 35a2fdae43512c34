"""The MLflow writer: one experiment a study, a parent run, and a child run for every trial and every baseline.

Only the driver writes. Everything a finished trial's run holds comes from its row in the Optuna store, so a run that
was lost (a killed driver, a server that was down) is written again from there by ``reconcile``.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from eos_platform.errors import EosError, redact
from eos_platform.tracking import names
from eos_platform.tracking.rows import TrialRow

_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "interrupted": "KILLED", "failed": "FAILED"}


class Recorder:
    """Writes one study's runs.

    Args:
        uri: any MLflow tracking URI.
        study: the study's name, which is the experiment's.
        uid: of the Optuna study; runs of an earlier study of the same name are left alone.
        artifacts: where artifacts go, for stores without a server.

    Raises:
        EosError: the store cannot be opened.
    """

    def __init__(self, uri: str, study: str, uid: str, artifacts: str | None = None) -> None:
        self.study, self.uid = study, uid
        try:
            self.client = connect(uri)
            self.experiment = _experiment(self.client, study, artifacts)
        except (MlflowException, SQLAlchemyError, OSError, ImportError, ValueError) as error:
            raise EosError(f"cannot open the MLflow store {redact(uri)}: {first_line(error)}") from None
        self.parent = self._parent()

    def _parent(self) -> str:
        runs = self._search(f"tags.`{names.UID}` = '{self.uid}' and tags.`{names.KIND}` = 'study'")
        if runs:
            self.client.update_run(runs[0].info.run_id, status="RUNNING")
            return runs[0].info.run_id
        tags = {names.UID: self.uid, names.KIND: "study"}
        return self.client.create_run(self.experiment.experiment_id, tags=tags, run_name=self.study).info.run_id

    def _search(self, query: str) -> list[Run]:
        return search_runs(self.client, self.experiment.experiment_id, query)

    def trial_runs(self) -> dict[int, Run]:
        """The runs of this study's trials, by trial number."""
        runs = self._search(f"tags.`{names.UID}` = '{self.uid}' and tags.`{names.KIND}` = 'trial'")
        return {int(run.data.tags[names.TRIAL]): run for run in runs}

    def describe(self, study_yaml: str, note: str, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """What the parent run says of the study.

        Args:
            params: what can never change (MLflow refuses to change a parameter).
            tags: what a study may be continued with.
        """
        self.client.log_text(self.parent, study_yaml, names.STUDY_FILE)
        plan = {names.PLAN + name: str(value) for name, value in tags.items()}
        self._batch(self.parent, params=params, tags={names.NOTE: note, **plan})

    def start_trial(self, row: TrialRow) -> str:
        """Open the run of a trial; its id."""
        tags = {
            names.PARENT: self.parent,
            names.UID: self.uid,
            names.KIND: "trial",
            names.TRIAL: str(row.number),
            names.RAY_ID: row.ray_id,
            names.STATE: "running",
            names.FAMILY: "searched",
            names.COLOR: names.COLORS["searched"],
        }
        if row.retry_of is not None:
            tags[names.RETRY_OF] = str(row.retry_of)
        run = self.client.create_run(self.experiment.experiment_id, tags=tags, run_name=f"trial {row.number}")
        self._batch(run.info.run_id, params=row.params)
        return run.info.run_id

    def curves(self, run_id: str, step: int, values: Mapping[str, float]) -> None:
        """One report of a running search."""
        self._batch(run_id, {names.curve(name): value for name, value in values.items()}, step=step)

    def finish_trial(self, run_id: str, row: TrialRow, trace: str | None = None) -> None:
        """Close the run of a trial as the store has it."""
        tags: dict[str, str] = {names.STATE: row.state}
        if row.regime:
            tags[names.REGIME] = row.regime
        if row.failure:
            tags[names.FAILURE] = row.failure
        if row.operator:
            self.client.log_text(run_id, row.operator, names.OPERATOR_FILE)
        if trace:
            self.client.log_text(run_id, trace, names.FAILURE_FILE)
        relaxed = {names.RELAXED_ACCURACY: names.curve(names.RELAXED_ACCURACY)}  # of no deployed operator
        self._batch(run_id, {relaxed.get(name, name): value for name, value in row.measured.items()}, tags=tags)
        self.client.set_terminated(run_id, _STATUS[row.state])

    def reconcile(self, rows: Iterable[TrialRow]) -> int:
        """Make the runs agree with the store: how many were written or closed."""
        runs, mended = self.trial_runs(), 0
        for row in rows:
            run = runs.get(row.number)
            if row.state == "running" or (run and run.info.status != "RUNNING"):
                continue
            self.finish_trial(run.info.run_id if run else self.start_trial(row), row)
            mended += 1
        return mended

    def mark_front(self, numbers: Iterable[int]) -> None:
        """Say on every trial's run whether it is on the front."""
        front = set(numbers)
        for number, run in self.trial_runs().items():
            wanted = "true" if number in front else "false"
            if run.data.tags.get(names.PARETO) != wanted:
                self.client.set_tag(run.info.run_id, names.PARETO, wanted)

    def point(self, point: Mapping[str, Any], operator_json: str | None) -> None:
        """One operator of the final comparison: on its trial's run, or as a run of its own."""
        heldout = {
            names.HELDOUT_ACCURACY: point["accuracy"],
            names.HELDOUT_LOW: point["accuracy_low"],
            names.HELDOUT_HIGH: point["accuracy_high"],
            names.QUESTIONS: point["questions"],
        }
        if point["family"] == "searched":
            self._batch(self.trial_runs()[int(point["trial"])].info.run_id, heldout)
            return
        run_id = self._baseline(point)
        measured = {name: point[name] for name in (names.COMPUTE_RATIO, names.MEAN_TOKENS, names.TOKENS_LEFT)}
        self._batch(run_id, {**heldout, **measured})
        if operator_json:
            self.client.log_text(run_id, operator_json, names.OPERATOR_FILE)
        self.client.set_terminated(run_id, "FINISHED")

    def _baseline(self, point: Mapping[str, Any]) -> str:
        """The baseline's run: made once, however often the comparison is done again."""
        mine = f"tags.`{names.UID}` = '{self.uid}' and tags.`{names.KIND}` = 'baseline'"
        for run in self._search(mine):
            if run.info.run_name == point["name"]:
                return run.info.run_id
        tags = {
            names.PARENT: self.parent,
            names.UID: self.uid,
            names.KIND: "baseline",
            names.FAMILY: point["family"],
            names.REGIME: point["regime"],
            names.COLOR: names.COLORS[point["family"]],
        }
        if point["design"]:
            tags[names.DESIGN] = point["design"]
        run = self.client.create_run(self.experiment.experiment_id, tags=tags, run_name=point["name"])
        return run.info.run_id

    def summary(self, files: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """Files and numbers of the whole study, on the parent run."""
        for name, text in files.items():
            self.client.log_text(self.parent, text, name)
        self._batch(self.parent, metrics)

    def close(self, status: str) -> None:
        """End the parent run: FINISHED, or KILLED when the study was interrupted."""
        self.client.set_terminated(self.parent, status)

    def _batch(
        self,
        run_id: str,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        step: int = 0,
    ) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(
            run_id,
            metrics=[Metric(key, float(value), now, step) for key, value in (metrics or {}).items()],
            params=[Param(key, _text(value)) for key, value in (params or {}).items()],
            tags=[RunTag(key, value) for key, value in (tags or {}).items()],
        )


def connect(uri: str) -> MlflowClient:
    """A client, with MLflow's chatter turned off."""
    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri)


def probe(uri: str) -> None:
    """Ask the store for something small, without MLflow's minutes of patience.

    Raises:
        EosError: it does not answer.
    """
    patience = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    before = {name: os.environ.get(name) for name in patience}
    os.environ.update(patience)
    try:
        connect(uri).search_experiments(max_results=1)
    except (MlflowException, SQLAlchemyError, OSError, ImportError, ValueError) as error:
        raise EosError(f"cannot open the MLflow store {redact(uri)}: {first_line(error)}") from None
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def search_runs(client: MlflowClient, experiment_id: str, query: str) -> list[Run]:
    """All runs the query finds, newest first."""
    found: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment_id], query, max_results=1000, page_token=token)
        found += page
        if not (token := page.token):
            return found


def first_line(error: Exception) -> str:
    """The error's first line, without passwords."""
    return redact((str(error).strip() or type(error).__name__).splitlines()[0])


def _experiment(client: MlflowClient, study: str, artifacts: str | None) -> Experiment:
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        made = client.create_experiment(study, artifact_location=f"{artifacts}/{study}" if artifacts else None)
        return client.get_experiment(made)
    if experiment.lifecycle_stage != "active":
        raise EosError(f"the MLflow experiment '{study}' was deleted; restore it there, or give the study another name")
    return experiment


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (list, tuple, dict)) else str(value)
