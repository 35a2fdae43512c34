"""Where an operator to attach may come from: itself, a file, a model's folder, MLflow's registry."""

from __future__ import annotations

import os
from pathlib import Path

from eos_platform.errors import EosError
from eos_platform.files import read_text
from eos_platform.operators.spec import OperatorSpec

FILE = "operator.json"  # beside a model's config.json, and in a registered version
REGISTRY = "models:/"


def operator_from(source: OperatorSpec | str | os.PathLike[str]) -> OperatorSpec:
    """An operator.

    Args:
        source: an operator; its file; a folder that holds ``operator.json`` (a model saved by ``save_pretrained`` with
            its operator beside it); or an address in MLflow's registry, ``models:/NAME@ALIAS`` or ``models:/NAME/7``.

    Raises:
        EosError: nothing there, or no valid operator.
    """
    if isinstance(source, OperatorSpec):
        return source
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
    return operator.save(Path(folder) / FILE)


def _registered(address: str) -> OperatorSpec:
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise EosError(f"{address}: MLflow is not installed") from None
    try:
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=address))
    except MlflowException as error:
        raise EosError(f"{address}: not in MLflow's registry at {mlflow.get_tracking_uri()}: {error.message}") from None
    except OSError as error:
        raise EosError(f"{address}: cannot be read: {error}") from None
    found = sorted(folder.rglob(FILE)) if folder.is_dir() else [folder]
    if not found:
        raise EosError(f"{address}: registered, but holds no {FILE}")
    return OperatorSpec.from_json(read_text(found[0], "operator file"), address)
