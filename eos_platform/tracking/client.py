"""A quiet MLflow client, and what several modules ask of it."""

from __future__ import annotations

import logging
import os
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from mlflow.store.db.db_types import DATABASE_ENGINES
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from eos_platform.common.addresses import masked, remember
from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError

# what an MLflow store that is away, full or foreign raises
TROUBLE = (MlflowException, SQLAlchemyError, OSError, ImportError, ValueError)

_REFUSED = ("INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST")


def refused(error: Exception) -> bool:
    """Whether MLflow answered that it will never take this, as of a run that was deleted: no outage."""
    return isinstance(error, MlflowException) and error.error_code in _REFUSED


def connect(uri: str) -> MlflowClient:
    """A client, with MLflow's chatter turned off.

    Raises:
        EosError: no address; MLflow would make a store in the folder this runs in.
    """
    _check_given(uri)
    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    remember(uri)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def probe(uri: str) -> None:
    """Ask the store for something small, without MLflow's minutes of patience.

    Raises:
        EosError: it does not answer.
    """
    _check_given(uri)
    remember(uri)
    patience = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    before = {name: os.environ.get(name) for name in patience}
    os.environ.update(patience)
    try:
        if urlsplit(uri).scheme.partition("+")[0] in DATABASE_ENGINES:  # MLflow itself would try ten times
            create_engine(uri).connect().close()
        connect(uri).search_experiments(max_results=1)
    except TROUBLE as error:
        raise EosError(f"cannot open the MLflow store {masked(uri)}: {first_line(error)}") from None
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _check_given(uri: str) -> None:
    if not uri.strip():
        raise EosError("the address of the MLflow store is empty")


def search_runs(client: MlflowClient, experiment_id: str, query: str) -> list[Run]:
    """All runs the query finds, newest first."""
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment_id], query, max_results=1000, page_token=token)
        runs += page
        if not (token := page.token):
            return runs


def first_line(error: Exception) -> str:
    """The error's first line, cut, without passwords."""
    return error_text(error)


def experiment_of(client: MlflowClient, study: str, artifacts: str | None) -> Experiment:
    """The study's experiment, made if need be.

    Raises:
        EosError: it was deleted.
    """
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        made = client.create_experiment(study, artifact_location=f"{artifacts}/{study}" if artifacts else None)
        return client.get_experiment(made)
    if experiment.lifecycle_stage != "active":
        raise EosError(f"the MLflow experiment '{study}' was deleted; restore it there, or give the study another name")
    return experiment
