"""Writing runs in few calls, values and files; and the runs of a study's trials."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.entities import Metric, Param, Run, RunTag

from eos_platform.common import strict_json
from eos_platform.common.addresses import masked
from eos_platform.common.errors import EosError
from eos_platform.dashboards.palette import SEARCHED
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tracking import names
from eos_platform.tracking.client import TROUBLE, connect, experiment_of, first_line, search_runs
from eos_platform.tracking.descriptions import operator_note
from eos_platform.tracking.notes import described, note_of
from eos_platform.tracking.pictures import kept_png, sites_png
from eos_platform.tracking.rows import TrialRow

_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "interrupted": "KILLED", "failed": "FAILED"}


class Writer:
    """A store and one experiment in it.

    Args:
        uri: any MLflow tracking URI.
        study: the experiment's name.
        artifacts: where artifacts go, for stores without a server.

    Attributes:
        examples: pictures that kept tokens are drawn on (``analysis/explain/overlay.py``); without them none are drawn.

    Raises:
        EosError: the store cannot be opened.
    """

    def __init__(self, uri: str, study: str, artifacts: str | None = None) -> None:
        self.study = study
        self.examples: Sequence[Mapping[str, Any]] = ()
        self._logged: set[str] = set()  # metrics
        try:
            self.client = connect(uri)
            self.experiment = experiment_of(self.client, study, artifacts)
        except TROUBLE as error:
            raise EosError(f"cannot open the MLflow store {masked(uri)}: {first_line(error)}") from None

    def _search(self, query: str) -> list[Run]:
        return search_runs(self.client, self.experiment.experiment_id, query)

    def _operator(self, run_id: str, operator_json: str, kept: str | None = None, colour: str = SEARCHED) -> str:
        """The operator's file and pictures (in its colour); what its run says of it."""
        operator = OperatorSpec.from_json(operator_json)
        files: dict[str, str | bytes] = {
            names.OPERATOR_FILE: operator_json,
            names.SITES_PICTURE: sites_png(operator, colour),
        }
        if kept and self.examples:
            sites = strict_json.loads(kept)
            files[names.KEPT_FILE] = strict_json.dumps({"examples": list(self.examples), "sites": sites})
            files[names.KEPT_PICTURE] = kept_png(self.examples, sites, f"{operator.name}: {operator.regime}")
        self._files(run_id, files)
        return self._described(run_id, operator_note(operator, f"runs:/{run_id}"))

    def _described(self, run_id: str, written: str) -> str:
        """The run's description with what the platform writes anew, people's note kept."""
        known = self.client.get_run(run_id).data.tags.get(names.NOTE, "")
        return described(note_of(known), written)

    def _answers(self, run_id: str, answers: str) -> None:
        """The example pictures with the answers given, where there are any."""
        if answers and self.examples:
            held = {"examples": list(self.examples), "answers": strict_json.loads(answers)}
            self._files(run_id, {names.ANSWERS_FILE: strict_json.dumps(held)})

    def _files(self, run_id: str, files: Mapping[str, str | bytes]) -> None:
        """All in one go."""
        with TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content.encode() if isinstance(content, str) else content)
            self.client.log_artifacts(run_id, folder)

    def _batch(
        self,
        run_id: str,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        step: int = 0,
    ) -> None:
        now = int(time.time() * 1000)
        self._logged.update(metrics or ())
        self.client.log_batch(
            run_id,
            metrics=[Metric(key, float(value), now, step) for key, value in (metrics or {}).items()],
            params=[Param(key, _text(value)) for key, value in (params or {}).items()],
            tags=[RunTag(key, value) for key, value in (tags or {}).items()],
        )


class TrialWriter(Writer):
    """Writes the runs of one study's trials, below a parent run.

    Args:
        uri: any MLflow tracking URI.
        study: the study's name, which is the experiment's.
        uid: of the Optuna study; runs of an earlier study of the same name are left alone.
        artifacts: where artifacts go, for stores without a server.

    Raises:
        EosError: the store cannot be opened.
    """

    def __init__(self, uri: str, study: str, uid: str, artifacts: str | None = None) -> None:
        super().__init__(uri, study, artifacts)
        self.uid = uid
        self._runs: dict[int, str] = {}  # of trials, by number
        self._front: set[int] | None = None  # as their runs say
        self.parent = self._parent()

    def _parent(self) -> str:
        runs = self._search(f"tags.`{names.UID}` = '{self.uid}' and tags.`{names.KIND}` = 'study'")
        if runs:
            self.client.update_run(runs[0].info.run_id, status="RUNNING")
            return runs[0].info.run_id
        tags = {names.UID: self.uid, names.KIND: "study"}
        return self.client.create_run(self.experiment.experiment_id, tags=tags, run_name=self.study).info.run_id

    def trial_runs(self) -> dict[int, Run]:
        """The runs of this study's trials, by trial number."""
        runs = self._search(f"tags.`{names.UID}` = '{self.uid}' and tags.`{names.KIND}` = 'trial'")
        by_number = {int(run.data.tags[names.TRIAL]): run for run in runs}
        self._runs = {number: run.info.run_id for number, run in by_number.items()}
        return by_number

    def _run_of(self, number: int) -> str | None:
        """The run of a trial, asked for once."""
        if number not in self._runs:
            self.trial_runs()
        return self._runs.get(number)

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
            names.PARETO: "false",
            names.ORDER: names.ORDERS["searched"],
            names.SHOWN: self.uid if row.number < names.CLOUD else "no",
            names.COLOR: names.COLORS["dominated"],
        }
        if row.retry_of is not None:
            tags[names.RETRY_OF] = str(row.retry_of)
        run = self.client.create_run(self.experiment.experiment_id, tags=tags, run_name=f"trial {row.number}")
        self._batch(run.info.run_id, params=row.params)
        self._runs[row.number] = run.info.run_id
        return run.info.run_id

    def curves(self, run_id: str, step: int, values: Mapping[str, float]) -> None:
        """One report of a running search."""
        self._batch(run_id, {names.curve(name): value for name, value in values.items()}, step=step)

    def finish_trial(self, run_id: str, row: TrialRow, trace: str | None = None, kept: str | None = None) -> None:
        """Close the run of a trial as the store has it.

        Args:
            trace: of the exception that ended it.
            kept: which tokens its operator keeps on the example pictures (``analysis/explain/overlay.py``), JSON.
        """
        tags: dict[str, str] = {names.STATE: row.state}
        if row.regime:
            tags[names.REGIME] = row.regime
        if row.failure:
            tags[names.FAILURE] = row.failure
        tags |= {names.PREFIX + name: text for name, text in row.notes.items()}
        if row.operator:
            tags[names.NOTE] = self._operator(run_id, row.operator, kept)
        if trace:
            self._files(run_id, {names.FAILURE_FILE: trace})
        relaxed = {names.RELAXED_ACCURACY: names.curve(names.RELAXED_ACCURACY)}  # of no deployed operator
        self._batch(run_id, {relaxed.get(name, name): value for name, value in row.measured.items()}, tags=tags)
        self.client.set_terminated(run_id, _STATUS[row.state])

    def reconcile(self, rows: Iterable[TrialRow]) -> int:
        """Make the runs agree with the store: how many were written or closed."""
        runs, repaired = self.trial_runs(), 0
        for row in rows:
            run = runs.get(row.number)
            if row.state == "running" or (run and run.info.status != "RUNNING"):
                continue
            self.finish_trial(run.info.run_id if run else self.start_trial(row), row)
            repaired += 1
        return repaired

    def mark_front(self, numbers: Iterable[int]) -> None:
        """Say on the runs which trials are on the front now: writes only to those that came or went."""
        if self._front is None:
            marked = {number for number, run in self.trial_runs().items() if run.data.tags.get(names.PARETO) == "true"}
            self._front = marked
        for number in sorted(set(numbers) ^ self._front):
            run_id = self._run_of(number)
            if run_id is None:
                continue  # MLflow was down when it began; the next front says it again
            on = number not in self._front
            tags = {
                names.PARETO: str(on).lower(),
                names.ORDER: names.ORDERS["front" if on else "searched"],
                names.SHOWN: self.uid if on or number < names.CLOUD else "no",
                names.COLOR: names.COLORS["searched" if on else "dominated"],
            }
            self._batch(run_id, tags=tags)
            self._front ^= {number}


def _text(value: Any) -> str:
    return strict_json.dumps(value) if isinstance(value, (list, tuple, dict)) else str(value)
