"""``--fresh``: an earlier study of the same name is archived, not deleted."""

from __future__ import annotations

import time
from pathlib import Path

import optuna

from eos_platform.common.addresses import sqlite_path
from eos_platform.common.errors import EosError
from eos_platform.engine.store import checkpoint_storage as storage
from eos_platform.engine.store.optuna_store import UID
from eos_platform.engine.store.run_dir import RunDir

EARLIER = ".earlier"  # in the runs folder; no study can have this name


def archive_study(run_dir: RunDir, optuna_study: optuna.Study) -> Path:
    """Move the study's folder aside; in a store outside it, rename the study. Where the folder is now.

    Its runs stay in MLflow: a new study has an identity of its own there. Only for the driver that holds the study.

    Raises:
        EosError: the folder cannot be moved.
    """
    name = f"{run_dir.study.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    # the folder first: a kill after it leaves a study that --fresh finds again, one before it leaves all as it was
    target = run_dir.runs / EARLIER / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        run_dir.path.rename(target)
    except OSError as error:
        raise EosError(f"cannot move {run_dir.path} to {target}: {error.strerror or error}") from None
    if run_dir.shared and storage.claimed(run_dir.states) in (None, optuna_study.user_attrs.get(UID)):
        storage.forget(run_dir.states)  # half-done searches of the old study: a new one's must not go on from them
    path = sqlite_path(run_dir.optuna_url)
    if path is None or path.parent != run_dir.path:
        store = optuna_study._storage
        optuna.copy_study(
            from_study_name=optuna_study.study_name,
            from_storage=store,
            to_storage=store,
            to_study_name=f"{name} (earlier)",
        )
        optuna.delete_study(study_name=optuna_study.study_name, storage=store)
    return target
