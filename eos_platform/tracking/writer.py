"""What every writer of runs does: open the store, find runs, write values and files in few calls."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
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


def _text(value: Any) -> str:
    return strict_json.dumps(value) if isinstance(value, (list, tuple, dict)) else str(value)
