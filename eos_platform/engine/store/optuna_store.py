"""The Optuna store: the truth about a study. Ray and MLflow hold copies that can be made again from it."""

from __future__ import annotations

import hashlib
import uuid
import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from eos_platform.common import strict_json, strict_yaml
from eos_platform.common.addresses import masked, sqlite_path
from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError
from eos_platform.common.files import is_there
from eos_platform.common.strict_types import WORDS
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.engine.store.migrate import current_identity, rename_parameters
from eos_platform.engine.store.retry import StoreUnavailable, quiet_outages, reason
from eos_platform.engine.store.run_dir import RunDir
from eos_platform.engine.store.stored_trial import (
    AGAIN,
    FAILURE,
    INTERRUPTED,
    OUTCOME,
    RETRY_OF,
    RUN_ID,
    finished,
    is_blank,
    queued_params,
    retried,
)
from eos_platform.objectives import DEFAULT
from eos_platform.protocols import Objective

# user attributes of the study
IDENTITY, DIGEST, UID, COMPARED = "identity", "identity_digest", "uid", "compared"
RUN_IDS = "mlflow_run_ids"  # of the study: runs made after their trial had ended, by its number


def directions(objectives: Sequence[Objective]) -> list[StudyDirection]:
    """The objectives' directions in Optuna's words."""
    return [StudyDirection.MAXIMIZE if one.sign > 0 else StudyDirection.MINIMIZE for one in objectives]


DIRECTIONS = directions(DEFAULT)


class NotRun(EosError):
    """The store does not know the study."""


def digest(identity: dict[str, Any]) -> str:
    """A short fingerprint of what makes a study this one."""
    return hashlib.sha256(strict_json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def open_store(run_dir: RunDir, *, create: bool, another: bool = False) -> Iterator[optuna.Study]:
    """The Optuna study of ``run_dir``, made when it is not there and ``create`` says so.

    Args:
        another: take a study of that name whatever it is of.

    Raises:
        NotRun: there is no such study.
        EosError: a store of another study, or one that cannot be opened.
        StoreAway: it stopped answering within the block.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, url = run_dir.study, run_dir.optuna_url
    try:
        missing = not create and not exists(url)
    except (OSError, ValueError) as error:
        raise EosError(f"cannot open the Optuna store {masked(url)}: {_first_line(error)}") from None
    if missing:
        raise NotRun(f"study '{study.name}' has not been run: there is no {sqlite_path(url) or masked(url)}")
    try:
        verbatim = url.replace("{", "{{").replace("}", "}}")  # Optuna takes an address for a template
        storage = RDBStorage(verbatim, engine_kwargs=_engine_options(url))
    except (SQLAlchemyError, ImportError, OSError, RuntimeError, ValueError) as error:
        raise EosError(f"cannot open the Optuna store {masked(url)}: {_first_line(error)}") from None
    quiet_outages()
    try:
        yield _load_whole(storage, study, create, another)
    except (StorageInternalError, SQLAlchemyError) as error:  # what nobody waits for, such as taking the lease
        raise StoreUnavailable(
            f"the Optuna store cannot be used ({reason(error)}); nothing finished is lost"
        ) from error
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _engine_options(url: str) -> dict[str, Any]:
    """SQLAlchemy's: a server may restart, so connections are tried before they are used."""
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": 60}}
    timeouts = {"connect_args": {"connect_timeout": 10}} if url.startswith("postgresql") else {}
    return {"pool_pre_ping": True, **timeouts}


def _load_whole(storage: RDBStorage, study: StudyFile, create: bool, another: bool) -> optuna.Study:
    """As ``_load``; Optuna trusts its tables, and fails as it will where something else wrote there."""
    try:
        return _load(storage, study, create, another)
    except (EosError, StorageInternalError, SQLAlchemyError):
        raise
    except Exception as error:
        raise EosError(f"study '{study.name}': its Optuna store cannot be read: {error_text(error)}") from error


def _load(storage: RDBStorage, study: StudyFile, create: bool, another: bool) -> optuna.Study:
    try:
        optuna_study = optuna.load_study(study_name=study.name, storage=storage)
    except KeyError:
        if not create:
            raise NotRun(f"study '{study.name}' has not been run: the store does not know it") from None
        axes = directions(study.axes)
        optuna_study = optuna.create_study(study_name=study.name, storage=storage, directions=axes, load_if_exists=True)
    if create and DIGEST not in optuna_study.user_attrs and not optuna_study.get_trials(deepcopy=False):
        # the digest comes last: a driver killed in between leaves a study that the next one gives its identity
        optuna_study.set_user_attr(IDENTITY, study.identity())
        optuna_study.set_user_attr(UID, uuid.uuid4().hex)
        optuna_study.set_user_attr(DIGEST, digest(study.identity()))
    if not another:
        refuse_another(optuna_study, study)
    if create and optuna_study.metric_names is None:  # earlier versions gave none; optuna-dashboard shows them
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna_study.set_metric_names([one.metric for one in study.axes])
    return optuna_study


def bring_up_to_date(optuna_study: optuna.Study) -> None:
    """Bring the store of an earlier version under today's names. Only for the driver that holds the study."""
    identity = optuna_study.user_attrs.get(IDENTITY)
    if (current := current_identity(identity)) == identity:
        return
    rename_parameters(optuna_study, engine_of(optuna_study))
    optuna_study.set_user_attr(IDENTITY, current)
    optuna_study.set_user_attr(DIGEST, digest(current))


def engine_of(optuna_study: optuna.Study) -> Engine:
    """The database behind the study."""
    storage: Any = optuna_study._storage  # a cache in front of the one that knows
    return getattr(storage, "_backend", storage).engine


def exists(url: str) -> bool:
    """Whether the store is there to be read; opening a missing SQLite file would make it.

    Raises:
        EosError: what is there is no file.
    """
    path = sqlite_path(url)
    return path is None or is_there(path, "Optuna store")


def refuse_another(optuna_study: optuna.Study, study: StudyFile) -> None:
    """Stop when the store holds a study of the same name that is not this one.

    Raises:
        EosError: naming the first difference.
    """
    attrs = optuna_study.user_attrs
    if attrs.get(DIGEST) == digest(study.identity()):
        return
    identity = attrs.get(IDENTITY)
    stored = current_identity(identity)
    difference = next(_differences(stored, study.identity()), "") if identity else "its identity is missing"
    if not difference:
        return
    raise EosError(
        f"the store of '{study.name}' belongs to another study ({difference}); "
        "give this one another name, or put the other's folder away"
    )


def _differences(stored: Any, given: Any, path: str = "") -> Iterator[str]:
    if isinstance(stored, dict) and isinstance(given, dict):
        for key in [*stored, *(key for key in given if key not in stored)]:
            yield from _differences(stored.get(key), given.get(key), f"{path}.{key}" if path else str(key))
    elif strict_json.dumps(stored) != strict_json.dumps(given) and not _same_value(stored, given):
        yield f"{path} was {strict_json.dumps(stored)}, not {strict_json.dumps(given)}"


def _same_value(stored: Any, given: Any) -> bool:
    """Whether the same word of a file was read in two ways: once ``1e-3`` was a word, and ``yes`` was none."""
    if isinstance(stored, bool) and isinstance(given, str):
        return WORDS.get(given.lower()) is stored
    number = strict_yaml.scalar(stored) if isinstance(stored, str) else stored
    return type(number) is type(given) and bool(number == given)


def _first_line(error: Exception) -> str:
    return error_text(getattr(error, "orig", None) or error)


def refuse_failure(optuna_study: optuna.Study) -> None:
    """Stop when there is nothing to compare.

    Raises:
        EosError: every search failed; why the first one did.
    """
    ended = finished(optuna_study.get_trials(deepcopy=False))
    if ended and all(trial.state == TrialState.FAIL for trial in ended):
        raise EosError(f"every search failed; first: {ended[0].user_attrs.get(FAILURE, 'no reason known')}")


def requeue_lost_trials(optuna_study: optuna.Study, live: Container[int] = ()) -> int:
    """Tell trials whose driver went away FAIL, and queue the same parameters again. How many.

    The retry is queued before its trial is told, so a kill in between loses and doubles nothing. A trial that was
    asked for and never handed to Ray is only told FAIL, unless it was a queued one: the next trial takes its place.

    Args:
        live: numbers of trials that are under way and stay so.
    """
    trials = optuna_study.get_trials(deepcopy=False)
    again = retried(trials)
    lost = [trial for trial in trials if trial.state == TrialState.RUNNING and trial.number not in live]
    for trial in lost:
        if trial.number not in again and not is_blank(trial):
            _queue_again(optuna_study, trial)
        live_trial = optuna.trial.Trial(optuna_study, trial._trial_id)
        live_trial.set_user_attr(FAILURE, INTERRUPTED)
        live_trial.set_user_attr(AGAIN, True)
        optuna_study.tell(trial.number, state=TrialState.FAIL)
    for trial in trials:
        if trial.user_attrs.get(AGAIN) and trial.state.is_finished() and trial.number not in again:
            if not is_blank(trial):
                _queue_again(optuna_study, trial)
            lost.append(trial)
    return sum(not is_blank(trial) for trial in lost)


def _queue_again(optuna_study: optuna.Study, trial: FrozenTrial) -> None:
    kept = {name: value for name, value in trial.user_attrs.items() if name not in OUTCOME}
    # a queued trial that the driver died upon taking up may not have all its parameters yet
    optuna_study.enqueue_trial({**queued_params(trial), **trial.params}, user_attrs={**kept, RETRY_OF: trial.number})


def run_id(optuna_study: optuna.Study, trial: FrozenTrial) -> str | None:
    """The MLflow run of a trial; a run made after the trial had ended is noted with the study."""
    return trial.user_attrs.get(RUN_ID) or optuna_study.user_attrs.get(RUN_IDS, {}).get(str(trial.number))


def join_runs(optuna_study: optuna.Study, runs: Mapping[int, str]) -> None:
    """Note the MLflow runs (by trial number) of trials that ended before they had one."""
    known = dict(optuna_study.user_attrs.get(RUN_IDS, {}))
    late = {
        str(trial.number): runs[trial.number]
        for trial in optuna_study.get_trials(deepcopy=False)
        if trial.number in runs and trial.user_attrs.get(RUN_ID) is None
    }
    if late != known:
        optuna_study.set_user_attr(RUN_IDS, late)


def mark_compared(optuna_study: optuna.Study, study: StudyFile) -> None:
    """Note that the final comparison covers all trials there are."""
    optuna_study.set_user_attr(COMPARED, _comparison(optuna_study, study))


def is_compared(optuna_study: optuna.Study, study: StudyFile) -> bool:
    """Whether every trial ended and the final comparison covers them all, as the study file wants it."""
    if len(finished(optuna_study.get_trials(deepcopy=False))) < study.trials:
        return False
    return optuna_study.user_attrs.get(COMPARED) == _comparison(optuna_study, study)


def _comparison(optuna_study: optuna.Study, study: StudyFile) -> dict[str, Any]:
    return {"trials": len(optuna_study.get_trials(deepcopy=False)), "final": study.final.model_dump(mode="json")}
