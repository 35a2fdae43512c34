"""Where an operator to attach may come from: itself, a file, a model's folder, MLflow's registry."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from eos_platform.common.addresses import of_sqlite, sqlite_path
from eos_platform.common.errors import EosError, expected, redact
from eos_platform.common.files import read_text
from eos_platform.operators.spec import OperatorSpec

FILE = "operator.json"  # beside a model's config.json, and in a registered version
REGISTRY = "models:/"
SOURCES = "an operator, its file, a folder that holds one, or models:/NAME@ALIAS"
STUDIES = "sqlite:///eos-runs/mlflow.db"  # as ``tracking.read`` has it, which models know nothing of


def operator_from(source: OperatorSpec | str | os.PathLike[str] | None, model: Any = None) -> OperatorSpec:
    """An operator.

    Args:
        source: an operator, or a search's result; its file; a folder that holds ``operator.json`` (a model saved by
            ``save_pretrained`` with its operator beside it); or an address in MLflow's registry,
            ``models:/NAME@ALIAS`` or ``models:/NAME/7``. None: the file in the folder that ``model`` was loaded from.
        model: that it is for, where there is one.

    Raises:
        EosError: nothing there, or no valid operator.
    """
    if isinstance(source, OperatorSpec):
        return source
    files = getattr(source, "operator", None)  # a search's result
    if isinstance(files, OperatorSpec):
        return files
    if source is None and model is not None:
        source = _saved_beside(model)
    if not isinstance(source, (str, os.PathLike)):
        raise expected("operator", SOURCES, source)
    text = os.fspath(source)
    if text.startswith(REGISTRY):
        return _registered(text)
    path = Path(text)
    if path.is_dir():
        if not (path / FILE).is_file():
            raise EosError(f"{path}: no {FILE} in this folder")
        path = path / FILE
    return OperatorSpec.load(path)


def save_operator(operator: OperatorSpec, folder: str | os.PathLike[str]) -> Path:
    """Write an operator beside a model: ``attach(model, folder)`` finds it there.

    Returns:
        the file, ``operator.json``.

    Raises:
        EosError: the folder cannot be made or written.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise expected("folder", "a folder's path", folder)
    return operator_from(operator).save(Path(folder) / FILE)


def _saved_beside(model: Any) -> Path:
    name = str(getattr(model, "name_or_path", "") or "")
    if name and (Path(name) / FILE).is_file():
        return Path(name) / FILE
    place = f"no {FILE} in {name}, where this model was loaded from" if name else "this model was loaded from no folder"
    raise EosError(f"operator: {place}; say which one to attach")


def _registered(address: str) -> OperatorSpec:
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:
        raise EosError(f"{address}: MLflow is not installed") from None
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # of one small file
    uri = registry()
    name, at, alias = address.partition("@")
    known = name + at + alias.replace(".", "_")  # MLflow allows no dot in an alias
    with tempfile.TemporaryDirectory() as folder, _told(uri):
        try:
            place = mlflow.artifacts.download_artifacts(artifact_uri=known, dst_path=folder)
        except MlflowException as error:
            raise EosError(f"{address}: not in MLflow's registry at {redact(uri)}: {redact(error.message)}") from None
        except (OSError, SQLAlchemyError) as error:
            raise EosError(f"{address}: cannot be read: {redact(str(error))}") from None
        got = Path(place)
        files = sorted(got.rglob(FILE)) if got.is_dir() else [got]
        if not files:
            raise EosError(f"{address}: registered, but holds no {FILE}")
        return OperatorSpec.from_json(read_text(files[0], "operator file"), address)


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """MLflow 3.17 asks its default store, whatever it is given, and makes it when it is not there: let that be ours."""
    import mlflow

    if mlflow.is_tracking_uri_set():
        yield
        return
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


def registry() -> str:
    """Where registered operators are looked for: what MLflow was told (``MLFLOW_TRACKING_URI``,
    ``mlflow.set_tracking_uri``), else where studies keep them, ``eos-runs/mlflow.db``.

    Raises:
        EosError: there is no such store; asking MLflow for it would make one.
    """
    import mlflow

    configured = mlflow.is_tracking_uri_set() or os.environ.get("MLFLOW_REGISTRY_URI")
    uri = str(mlflow.get_registry_uri()) if configured else STUDIES
    path = _path_of(uri)
    if path is not None and not path.exists():
        hint = "" if configured else " in this folder; for a store elsewhere, set MLFLOW_TRACKING_URI"
        raise EosError(f"no MLflow store at {path}{hint}")
    # absolute: MLflow remembers stores by their address, whatever folder that was said in
    return of_sqlite(path.absolute()) if uri == STUDIES and path is not None else uri


def _path_of(uri: str) -> Path | None:
    """The file or folder of a store that is one."""
    if uri.startswith("sqlite:"):
        return sqlite_path(uri)
    if uri.startswith("file:"):
        return Path(unquote(urlsplit(uri).path))
    return None if "://" in uri or uri.startswith("databricks") else Path(uri)
