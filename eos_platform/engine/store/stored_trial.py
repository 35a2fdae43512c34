"""A trial as the Optuna store has it: its attributes, what they say in a row, and which trials count or are the front.

The operator's JSON is a system attribute, which dashboards do not show: tens of thousands of characters would fill the
page of every trial. The user attribute of the same name has the digest that MLflow's versions have as a tag.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from eos_platform.common.errors import EosError
from eos_platform.common.former_names import SEARCH
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.search.config import SearchConfig
from eos_platform.tracking.rows import State, TrialRow, operator_digest

# user attributes of a trial
RAY_ID, RUN_ID, BUDGET, RETRY_OF = "ray_trial_id", "mlflow_run_id", "budget", "retry_of"
MEASURED, REGIME, FAILURE = "measured", "regime", "failure"
COURSE, STOPPED = "course", "stopped"  # what it had deployed on the way, and why it was stopped before its end
VIOLATED, WARM_START = "violated", "warm_start"  # constraints it does not keep; where its settings come from
INTERRUPTED = "interrupted"  # the failure of a trial whose driver went away
WORKER_DIED = "the worker process died"  # the failure of a trial that lost too many workers
AGAIN = "again"  # of a trial that ended for want of something outside it, such as disk space: not its result
OPERATOR = "operator"  # user attribute: the digest
TEXT = "eos:operator"  # system attribute: the JSON
OUTCOME = (
    RAY_ID,
    RUN_ID,
    BUDGET,
    RETRY_OF,
    MEASURED,
    OPERATOR,
    REGIME,
    FAILURE,
    AGAIN,
    COURSE,
    STOPPED,
    VIOLATED,
)  # of this trial, not its retry
_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}


def keep_operator(trial: optuna.Trial, text: str) -> None:
    """Write the operator's JSON beside the trial; to be done before the trial is told."""
    trial.study._storage.set_trial_system_attr(trial._trial_id, TEXT, text)
    trial.set_user_attr(OPERATOR, operator_digest(text))


def operator_of(trial: FrozenTrial) -> str | None:
    """The JSON of the operator that the trial found; None: it found none."""
    text: str | None = trial.system_attrs.get(TEXT)
    if text is None:  # earlier versions kept it where the digest is now
        old = trial.user_attrs.get(OPERATOR)
        text = old if isinstance(old, str) and old.lstrip().startswith("{") else None
    return text


def search_fields(study: StudyFile, trial: FrozenTrial) -> dict[str, Any]:
    """Every field of the trial's search, fixed ones and defaults included; as stored when the search refuses them."""
    varied = {
        name: study.space[name].value(value) if name in study.space else value
        for name, value in SEARCH.current(trial.params).items()
    }
    try:
        return SearchConfig.of({**study.search, **varied}).fields("python")
    except EosError:
        return {**study.search, **varied}  # the worker says what is wrong with them


def row_of(study: StudyFile, trial: FrozenTrial) -> TrialRow:
    """The trial as tracking wants it."""
    attrs = trial.user_attrs
    state = _STATES[trial.state]
    if attrs.get(AGAIN) or attrs.get(FAILURE) == INTERRUPTED:
        state = "interrupted"
    return TrialRow(
        number=trial.number,
        state=state,
        ray_id=attrs.get(RAY_ID, ""),
        retry_of=attrs.get(RETRY_OF),
        params=search_fields(study, trial),
        measured=attrs.get(MEASURED, {}),
        operator=operator_of(trial),
        regime=attrs.get(REGIME),
        failure=attrs.get(FAILURE),
        notes=notes_of(trial),
    )


def notes_of(trial: FrozenTrial) -> dict[str, str]:
    """Why it was stopped, which constraints it does not keep, where its settings come from; what there is of these."""
    attrs = trial.user_attrs
    notes = {STOPPED: attrs.get(STOPPED), VIOLATED: ", ".join(attrs.get(VIOLATED, []))}
    notes[WARM_START] = attrs.get(WARM_START)
    return {name: text for name, text in notes.items() if text}


def rows_of(study: StudyFile, trials: Sequence[FrozenTrial]) -> list[TrialRow]:
    """All trials that have begun."""
    return [row_of(study, trial) for trial in trials if trial.state != TrialState.WAITING]


def retried(trials: Iterable[FrozenTrial]) -> set[int]:
    """Numbers of trials that another trial runs again."""
    return {trial.user_attrs[RETRY_OF] for trial in trials if RETRY_OF in trial.user_attrs}


def finished(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that count towards the study's number: ended by themselves, well or not."""
    trials = list(trials)
    again = retried(trials)
    return [
        trial
        for trial in trials
        if trial.state.is_finished() and trial.number not in again and not trial.user_attrs.get(AGAIN)
    ]


def ended_well(trial: FrozenTrial) -> bool:
    """Whether Ray saw the trial to an end of its own: with a result, stopped early, or with a search that raised."""
    return trial.state.is_finished() and trial.user_attrs.get(FAILURE) not in (INTERRUPTED, WORKER_DIED)


def root(trials: Iterable[FrozenTrial], number: int) -> int:
    """The first trial of the chain of retries that ``number`` ends: its search state has that name."""
    earlier = {trial.number: trial.user_attrs.get(RETRY_OF) for trial in trials}
    while (before := earlier.get(number)) is not None:
        number = before
    return number


def is_blank(trial: FrozenTrial) -> bool:
    """Whether the driver died between asking for a new trial and handing it to Ray: there is nothing to go on with."""
    return (
        trial.state != TrialState.WAITING
        and RAY_ID not in trial.user_attrs
        and not queued_params(trial)
        and trial.state != TrialState.COMPLETE
    )


def queued_params(trial: FrozenTrial) -> dict[str, Any]:
    """The parameters that a trial was queued with."""
    return dict(trial.system_attrs.get("fixed_params", {}))


def proposals(trials: Iterable[FrozenTrial]) -> int:
    """How many searches the study has thought of: its trials without those that run another again.

    The next proposal depends on this number, not on how often drivers or workers died.
    """
    return sum(RETRY_OF not in trial.user_attrs and not is_blank(trial) for trial in trials)


def front(optuna_study: optuna.Study) -> list[FrozenTrial]:
    """Feasible, non-dominated trials, each point once: the best in the second objective first.

    That is by rising compute ratio, unless the study has others.
    """
    signs = [1 if direction == StudyDirection.MAXIMIZE else -1 for direction in optuna_study.directions]

    def order(trial: FrozenTrial) -> tuple[float, ...]:
        first, *others = (-sign * value for sign, value in zip(signs, trial.values, strict=True))
        return (*others, first, trial.number)

    seen, best = set(), []
    for trial in sorted(optuna_study.best_trials, key=order):
        point = tuple(trial.values)
        if point not in seen and all(map(math.isfinite, point)):
            seen.add(point)
            best.append(trial)
    return best
