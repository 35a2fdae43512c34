"""A study's trials as rows and as a table, read from the Optuna store alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import optuna
import pandas as pd
from optuna.trial import TrialState

from eos_platform.analysis.stats.pareto import HELD_OUT, VALIDATION, front_of
from eos_platform.common.former_names import SEARCH
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.store.stored_trial import notes_of, row_of
from eos_platform.objectives import DEFAULT
from eos_platform.protocols import Objective

MEASURED = ("accuracy", "compute_ratio", "mean_tokens", "seconds")  # shown of every study, beside its objectives
NOTES = (stored.STOPPED, stored.VIOLATED, stored.WARM_START)


@dataclass(frozen=True)
class Status:
    """Where a study stands."""

    name: str
    target: int
    finished: int
    trials: pd.DataFrame  # one row a trial: number, state, the varied fields, what was measured, front
    varied: tuple[str, ...] = ()  # the fields of the space
    compared: bool = True  # whether the final comparison covers all of them
    axes: tuple[Objective, ...] = DEFAULT  # the study's objectives
    front_on: str = VALIDATION  # the questions that make the front: as soon as there are any, held-out ones

    @property
    def remaining(self) -> int:
        """Searches still to do."""
        return max(0, self.target - self.finished)

    def __str__(self) -> str:
        still = f"{self.remaining} remain" if self.remaining else "finished"
        if not (self.remaining or self.compared):
            still = f"the final comparison is missing; eos study resume {self.name} makes it"
        return f"{self.name}: {self.finished} of {self.target} trials, {still}"


def with_heldout(status: Status, points: pd.DataFrame) -> Status:
    """The same once the final comparison is made: its points say what is on the front."""
    searched = points[points["family"] == "searched"].set_index("trial")
    mask, accuracy = front_of(searched, status.axes), searched["accuracy"]
    numbers = status.trials["trial"]
    trials = status.trials.assign(heldout=numbers.map(accuracy), front=numbers.map(mask).eq(True))
    return replace(status, trials=trials, front_on=HELD_OUT)


def status_of(study: StudyFile, optuna_study: optuna.Study, *, written: bool = True) -> Status:
    """The status as the store has it now.

    Args:
        written: whether the final comparison's file is there.
    """
    trials = optuna_study.get_trials(deepcopy=False)
    front = {trial.number for trial in stored.front(optuna_study)}
    numbers = list(dict.fromkeys((*MEASURED[:-1], *study.objectives, *MEASURED[-1:])))
    lines = []
    for trial in trials:
        waiting = trial.state == TrialState.WAITING
        params = SEARCH.current(trial.system_attrs.get("fixed_params", {}) if waiting else trial.params)
        measured = trial.user_attrs.get(stored.MEASURED, {})
        lines.append(
            {
                "trial": trial.number,
                "state": "waiting" if waiting else row_of(study, trial).state,
                **{name: study.space[name].value(params[name]) if name in params else None for name in study.space},
                **{name: measured.get(name) for name in numbers},
                "regime": trial.user_attrs.get(stored.REGIME),
                "front": trial.number in front,
                "retry_of": trial.user_attrs.get(stored.RETRY_OF),
                "failure": trial.user_attrs.get(stored.FAILURE),
                **{name: notes_of(trial).get(name) for name in NOTES},
            }
        )
    columns = ["trial", "state", *study.space, *numbers, "regime", "front"]
    table = pd.DataFrame(lines, columns=[*columns, "retry_of", "failure", *NOTES])
    table["retry_of"] = table["retry_of"].astype("Int64")
    compared = written and store.is_compared(optuna_study, study)
    return Status(
        study.name, study.trials, len(stored.finished(trials)), table, tuple(study.space), compared, study.axes
    )
