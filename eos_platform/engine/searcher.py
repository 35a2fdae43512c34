"""The bridge from Ray Tune to the Optuna store.

Tune's own OptunaSearch aborts the study when an objective is missing, leaves a NaN trial RUNNING for ever, records
trials stopped early as COMPLETE, and can set neither constraints nor attributes. This one does none of that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from eos_platform.engine import store
from eos_platform.engine.space import Dimension
from eos_platform.search.config import SearchConfig

FINAL = "final/"  # what the last report of a search carries, flattened by Tune
OBJECTIVES = (f"{FINAL}accuracy", f"{FINAL}compute_ratio")


class Verdict(NamedTuple):
    """What a finished Ray trial means to Optuna."""

    state: TrialState
    values: list[float] | None = None
    failure: str | None = None


def judge(result: Mapping[str, Any] | None, error: bool) -> Verdict:
    """COMPLETE needs a final report with both objectives finite; a trial stopped before one is PRUNED; else FAIL."""
    result = result or {}
    if error:
        return Verdict(TrialState.FAIL, failure="the worker process died")
    if "failure" in result:
        return Verdict(TrialState.FAIL, failure=str(result["failure"]))
    if not result.get("finished"):
        return Verdict(TrialState.PRUNED)
    values = [result.get(name) for name in OBJECTIVES]
    for name, value in zip(OBJECTIVES, values, strict=True):
        if value is None:
            return Verdict(TrialState.FAIL, failure=f"{name.removeprefix(FINAL)} is missing")
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            return Verdict(TrialState.FAIL, failure=f"{name.removeprefix(FINAL)} is {value}")
    return Verdict(TrialState.COMPLETE, [float(value) for value in values if value is not None])


class StudySearcher(Searcher):
    """Asks the store for each trial and tells it every outcome."""

    def __init__(self, told: optuna.Study, space: Mapping[str, Dimension], fixed: Mapping[str, Any]) -> None:
        super().__init__()
        self.told = told
        self.space = dict(space)
        self.fixed = dict(fixed)
        self.live: dict[str, optuna.Trial] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict, **spec: Any) -> bool:
        """The store already knows the objectives; nothing is taken from Tune."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """The next search: a queued retry if there is one, else the sampler's proposal."""
        trial = self.told.ask({name: dimension.distribution() for name, dimension in self.space.items()})
        varied = {name: self.space[name].value(value) for name, value in trial.params.items()}
        search = {**self.fixed, **varied}
        trial.set_user_attr(store.RAY_ID, trial_id)
        trial.set_user_attr(store.BUDGET, float(search.get("budget", SearchConfig().budget)))
        self.live[trial_id] = trial
        root = store.root(self.told.get_trials(deepcopy=False), trial.number)
        return {"number": trial.number, "root": root, "search": search}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Record the outcome, with all that MLflow or a reader may want, before the trial is closed."""
        trial = self.live[trial_id]
        if self.frozen(trial_id).state.is_finished():
            return
        verdict = judge(result, error)
        result = result or {}
        if verdict.failure:
            trial.set_user_attr(store.FAILURE, verdict.failure)
        measured = {key.removeprefix(FINAL): value for key, value in result.items() if key.startswith(FINAL)}
        if measured:
            finite = {key: value for key, value in measured.items() if math.isfinite(value)}
            trial.set_user_attr(store.MEASURED, finite)
        for name in (store.OPERATOR, store.REGIME):
            if verdict.values and name in result:
                trial.set_user_attr(name, result[name])
        if verdict.values:
            trial.set_constraint("compute_ratio - budget", verdict.values[1] - trial.user_attrs[store.BUDGET])
        self.told.tell(trial, values=verdict.values, state=verdict.state)

    def frozen(self, trial_id: str) -> FrozenTrial:
        """The trial as the store has it now."""
        number = self.live[trial_id].number
        return next(trial for trial in self.told.get_trials(deepcopy=False) if trial.number == number)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the store is the state."""

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles the searcher beside its own state; database connections stay here."""
        return {"space": self.space, "fixed": self.fixed}
