"""Read a study back from MLflow as a DataFrame: its trials, what was measured, and their operators.

Example:
    >>> from eos_platform.tracking import read_study
    >>> trials = read_study("quickstart")
    >>> trials.sort_values("accuracy").iloc[-1]["operator"].save("best.json")
"""

from __future__ import annotations

import shlex
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

from eos_platform.common.addresses import masked, sqlite_path
from eos_platform.common.commands import command
from eos_platform.common.errors import EosError, unknown
from eos_platform.common.files import is_there, shown_path
from eos_platform.common.former_names import SEARCH
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tracking import names
from eos_platform.tracking.client import TROUBLE, connect, first_line, probe, search_runs
from eos_platform.tracking.mlflow_ui.views import FRONT, LOCAL, view_url

DEFAULT_URI = "sqlite:///eos-runs/mlflow.db"
TAGS = {
    "kind": names.KIND,
    "state": names.STATE,
    "family": names.FAMILY,
    "regime": names.REGIME,
    "design": names.DESIGN,
    "pareto": names.PARETO,
    "ray_trial_id": names.RAY_ID,
    "retry_of": names.RETRY_OF,
    "failure": names.FAILURE,
}


def read_study(study: str, uri: str = DEFAULT_URI, *, operators: bool = True) -> pd.DataFrame:
    """Every trial and baseline of the latest study of that name, trials first.

    Args:
        uri: the MLflow tracking URI.
        operators: fetch each run's operator file into the column ``operator``.

    Returns:
        Columns run_id, name, status, trial, those of ``TAGS``, ``params.<field>`` for the search's fields, and every
        metric under its name in ``tracking/names.py``.

    Raises:
        EosError: no such store or study.
    """
    check_store(uri)
    try:
        client = connect(uri)
        experiment = client.get_experiment_by_name(study)
        if experiment is None:
            raise unknown("study", study, [experiment.name for experiment in client.search_experiments()])
        runs = search_runs(client, experiment.experiment_id, "")
    except TROUBLE as error:
        raise EosError(f"cannot read the MLflow store {masked(uri)}: {first_line(error)}") from None
    uid = next((run.data.tags[names.UID] for run in runs if run.data.tags.get(names.KIND) == "study"), None)
    mine = [run for run in runs if run.data.tags.get(names.UID) == uid and names.PARENT in run.data.tags]
    frame = pd.DataFrame([_line(client, run, operators) for run in mine])
    if frame.empty:
        return pd.DataFrame(columns=["run_id", "name", "status", "trial", *TAGS])
    frame["trial"] = frame["trial"].astype("Int64")
    frame["retry_of"] = frame["retry_of"].astype("Int64")
    frame["pareto"] = frame["pareto"] == "true"
    return frame.sort_values(["trial", "name"], na_position="last", ignore_index=True)


def _line(client: MlflowClient, run: Run, operators: bool) -> dict[str, Any]:
    tags = run.data.tags
    trial = tags.get(names.TRIAL)
    line: dict[str, Any] = {
        "run_id": run.info.run_id,
        "name": run.info.run_name,
        "status": run.info.status,
        "trial": None if trial is None else int(trial),
        **{column: tags.get(tag) for column, tag in TAGS.items()},
        **{f"params.{name}": value for name, value in SEARCH.latest(run.data.params).items()},
        **run.data.metrics,
    }
    line["retry_of"] = None if line["retry_of"] is None else int(line["retry_of"])
    if operators:
        line["operator"] = _operator(client, run)
    return line


def _operator(client: MlflowClient, run: Run) -> OperatorSpec | None:
    """The run's operator; read where it lies when that is this machine: asking MLflow for each takes its time."""
    if not run.data.tags.get(names.REGIME) or run.data.tags.get(names.FAMILY) == "unreduced":
        return None
    place = run.info.artifact_uri or ""
    if place.startswith("file:"):
        file = Path(unquote(urlsplit(place).path)) / names.OPERATOR_FILE
        return OperatorSpec.load(file) if file.exists() else None
    with TemporaryDirectory() as folder:
        try:
            return OperatorSpec.load(client.download_artifacts(run.info.run_id, names.OPERATOR_FILE, folder))
        except TROUBLE:
            return None


def check_store(uri: str) -> None:
    """Whether a store is there: MLflow would make a missing SQLite file, and wait minutes for anything else.

    Raises:
        EosError: it is not.
    """
    path = sqlite_path(uri)
    if path is None:
        probe(uri)
    elif not is_there(path, "MLflow store"):
        raise EosError(f"no MLflow store at {shown_path(path)}")


def open_command(uri: str) -> str:
    """What to type, or open, to look at the runs."""
    if uri.startswith(("http://", "https://")):
        return masked(uri)
    return f"{command('mlflow')} ui --backend-store-uri {shlex.quote(masked(uri))} --workers 1"


def front_url(uri: str, study: str, key: str = FRONT) -> str:
    """The address of a study's saved view once MLflow runs (``open_command``); empty when the store does not say."""
    try:
        check_store(uri)
        experiment = connect(uri).get_experiment_by_name(study)
    except (EosError, *TROUBLE):
        return ""
    if experiment is None:
        return ""
    return view_url(experiment.experiment_id, key, masked(uri) if uri.startswith(("http://", "https://")) else LOCAL)
