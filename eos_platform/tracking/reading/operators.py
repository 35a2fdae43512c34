"""An operator out of MLflow as plain data, and the way from a registered version back to its trial and study file.

Only ``operator.json`` is fetched: nothing in the store is run, and nothing is unpickled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from eos_platform.common.addresses import masked
from eos_platform.common.errors import EosError
from eos_platform.common.files import read_text
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tracking import names
from eos_platform.tracking.client import TROUBLE, connect, first_line
from eos_platform.tracking.reading.studies import DEFAULT_URI, check_store

STUDY, STUDY_RUN = "eos.study", "eos.study_run"
_MODEL = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/]+)|/(?P<version>\d+))")
_RUN = re.compile(r"runs:/(?P<run>[0-9a-f]+)")


@dataclass(frozen=True)
class Provenance:
    """Where a registered operator comes from."""

    study: str
    trial: int
    version: str
    run_id: str  # of the trial
    study_run_id: str
    study_file: str  # YAML
    environment: str  # JSON


def load_operator(reference: str, uri: str = DEFAULT_URI) -> OperatorSpec:
    """An operator to attach.

    Example:
        >>> eos.attach(model, load_operator("models:/quickstart@champion"))

    Args:
        reference: ``models:/name@alias``, ``models:/name/version`` or ``runs:/run_id``.
        uri: the MLflow tracking URI.

    Raises:
        EosError: no such store, model or run, or its file is no operator.
    """
    with _asking(uri) as client:
        run = _RUN.fullmatch(reference)
        if run:
            place = f"runs:/{run['run']}/{names.OPERATOR_FILE}"
        else:
            version = _version(client, reference)
            root = client.get_model_version_download_uri(version.name, version.version)
            place = f"{root}/artifacts/{names.OPERATOR_FILE}"
        return OperatorSpec.from_json(_text(place, uri, "operator file"), reference)


def provenance(reference: str, uri: str = DEFAULT_URI) -> Provenance:
    """The trial and the study a registered operator comes from.

    Raises:
        EosError: no such model, or not one that a study registered.
    """
    with _asking(uri) as client:
        version = _version(client, reference)
        tags = version.tags
        if STUDY_RUN not in tags:
            raise EosError(f"{reference} was registered by something else than a study")
        study = tags[STUDY_RUN]
        return Provenance(
            tags[STUDY],
            int(tags[names.TRIAL]),
            str(version.version),
            str(version.run_id),
            study,
            _text(f"runs:/{study}/{names.STUDY_FILE}", uri, "study file"),
            _text(f"runs:/{study}/{names.ENVIRONMENT_FILE}", uri, "environment"),
        )


@contextmanager
def _asking(uri: str) -> Iterator[MlflowClient]:
    check_store(uri)
    try:
        yield connect(uri)
    except TROUBLE as error:
        raise EosError(f"cannot read the MLflow store {masked(uri)}: {first_line(error)}") from None


def _version(client: MlflowClient, reference: str) -> ModelVersion:
    match = _MODEL.fullmatch(reference)
    if match is None:
        raise EosError(f"'{reference}' is none of models:/name@alias, models:/name/version and runs:/run_id")
    if match["alias"]:
        # MLflow allows no dot in an alias
        return client.get_model_version_by_alias(match["name"], match["alias"].replace(".", "_"))
    return client.get_model_version(match["name"], match["version"])


def _text(place: str, uri: str, what: str) -> str:
    with TemporaryDirectory() as folder:
        return read_text(mlflow.artifacts.download_artifacts(place, dst_path=folder, tracking_uri=uri), what)
