"""The bridge from Ray Tune to the Optuna store.

Tune's own OptunaSearch aborts the study when an objective is missing, leaves a NaN trial RUNNING for ever, records
trials stopped early as COMPLETE, and can set neither constraints nor attributes. This one does none of that.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from eos_platform.costs.registry import COMPUTE
from eos_platform.engine.schema.conditions import suggest
from eos_platform.engine.schema.sections import Constraints
from eos_platform.engine.schema.space import Dimension
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store.kept_operator import keep_operator
from eos_platform.engine.store.retry import Retry
from eos_platform.engine.strategy.constraints import bounds, missing, violations
from eos_platform.engine.trial_result import is_number, measured, read
from eos_platform.objectives import DEFAULT
from eos_platform.protocols import Objective, TrialResult
from eos_platform.search.config import SearchConfig


class Verdict(NamedTuple):
    """What a finished Ray trial means to Optuna."""

    state: TrialState
    values: list[float] | None = None
    failure: str | None = None
    again: bool = False  # no result of the search: something outside it was wanting


def judge(result: Mapping[str, Any] | None, error: bool, objectives: Sequence[Objective] = DEFAULT) -> Verdict:
    """COMPLETE needs a last report with every objective finite; a trial stopped before one is PRUNED; else FAIL."""
    result = result or {}
    if error:
        return Verdict(TrialState.FAIL, failure=store.WORKER_DIED)
    if "failure" in result:
        return Verdict(TrialState.FAIL, failure=str(result["failure"]), again=bool(result.get("again")))
    if not result.get("finished"):
        return Verdict(TrialState.PRUNED)
    outcome = read(result, objectives)
    values = []
    for one in objectives:
        value = outcome.values.get(one.metric) if outcome else None
        if value is None:
            return Verdict(TrialState.FAIL, failure=f"{one.metric} is missing")
        if not is_number(value):
            return Verdict(TrialState.FAIL, failure=f"{one.metric} is {value}")
        values.append(float(value))
    return Verdict(TrialState.COMPLETE, values)


class StudySearcher(Searcher):
    """Asks the store for each trial and tells it every outcome.

    Args:
        optuna_study: the study in its store.
        space, fixed: the fields of a search that vary, and those that do not.
        sampler: the sampler for the proposal of a number. One for each, so that what is proposed depends on the
            store alone and a study that was killed goes on as it would have.
        retry: how to call a store that may be away.
        run_of: the MLflow run of a trial number, once there is one.
        constraints: what an operator must keep to be on the front, beside its budget.
        objectives: what a trial's values are, in the store's order.
    """

    def __init__(
        self,
        optuna_study: optuna.Study,
        space: Mapping[str, Dimension],
        fixed: Mapping[str, Any],
        sampler: Callable[[int], BaseSampler] | None = None,
        retry: Retry | None = None,
        run_of: Callable[[int], str | None] = lambda number: None,
        constraints: Constraints | None = None,
        objectives: Sequence[Objective] = DEFAULT,
    ) -> None:
        super().__init__()
        self.optuna_study = optuna_study
        self.space = dict(space)
        self.fixed = dict(fixed)
        self.cost = str(self.fixed.get("cost", COMPUTE))  # that budgets are about
        self.sampler, self.run_of = sampler, run_of
        self.constraints = constraints or Constraints()
        self.objectives = tuple(objectives)
        self.retry = retry or Retry()
        self.live: dict[str, optuna.Trial] = {}
        self.session = uuid.uuid4().hex  # of this driver
        self.stopped: str | None = None  # why no further search is begun
        self.blamed: Callable[[], str | None] = lambda: None  # a node to blame for searches that lost their workers

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict, **spec: Any) -> bool:
        """The store already knows the objectives; nothing is taken from Tune."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """The next search: a queued retry if there is one, else the sampler's proposal."""
        if self.stopped:
            return Searcher.FINISHED
        attempts = 0

        def ask() -> dict[str, Any]:
            nonlocal attempts
            attempts += 1
            if attempts > 1:  # what a store that went away has of the last attempt is nobody's
                store.requeue_lost_trials(self.optuna_study, {trial.number for trial in self.live.values()})
            return self._ask(trial_id)

        return self.retry(ask)

    def _ask(self, trial_id: str) -> dict[str, Any]:
        if self.sampler:
            self.optuna_study.sampler = self.sampler(store.proposals(self.optuna_study.get_trials(deepcopy=False)))
        trial = self.optuna_study.ask()
        search = {**self.fixed, **suggest(trial, self.space)}
        budget = search.get("budget", SearchConfig.model_fields["budget"].default)
        trial.set_user_attr(store.BUDGET, float(budget))
        trial.set_user_attr(store.RAY_ID, trial_id)
        self.live[trial_id] = trial
        root = trial.number
        if store.RETRY_OF in trial.user_attrs:
            root = store.root(self.optuna_study.get_trials(deepcopy=False), trial.number)
        return {"number": trial.number, "root": root, "search": search, "session": self.session}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Record the outcome, with all that MLflow or a reader may want, before the trial is closed."""
        verdict = judge(result, error, self.objectives)
        outcome = read(result or {}, self.objectives)
        if verdict.failure == store.WORKER_DIED and (node := self.blamed()):
            verdict = Verdict(TrialState.FAIL, failure=node, again=True)
        if verdict.values and (lacks := missing(self.constraints, measured(outcome) if outcome else {}, self.cost)):
            verdict = Verdict(TrialState.FAIL, failure=lacks)
        if verdict.again:
            self.stopped = verdict.failure
        self.retry(lambda: self._tell(trial_id, verdict, outcome))

    def _tell(self, trial_id: str, verdict: Verdict, outcome: TrialResult | None) -> None:
        trial, known = self.live[trial_id], self.frozen(trial_id)
        if known.state.is_finished():
            return
        attrs: dict[str, Any] = {}
        if verdict.failure:
            attrs[store.FAILURE] = verdict.failure
        if verdict.again:
            attrs[store.AGAIN] = True
        numbers = measured(outcome) if outcome else {}
        if numbers:
            attrs[store.MEASURED] = {key: value for key, value in numbers.items() if is_number(value)}
        if verdict.values and outcome:
            if outcome.regime:
                attrs[store.REGIME] = outcome.regime
            if outcome.operator:
                keep_operator(trial, outcome.operator)
        if store.RUN_ID not in known.user_attrs and (run := self.run_of(trial.number)):
            attrs[store.RUN_ID] = run
        budget = known.user_attrs[store.BUDGET]
        if verdict.values and (violated := violations(self.constraints, budget, numbers, self.cost)):
            attrs[store.VIOLATED] = violated
        for name, value in attrs.items():
            trial.set_user_attr(name, value)
        for bound in bounds(self.constraints, budget, self.cost) if verdict.values else ():
            if bound.key not in known.constraints:  # a store that went away may have some
                trial.set_constraint(bound.key, bound.excess(numbers[bound.measure]))
        self.optuna_study.tell(trial.number, values=verdict.values, state=verdict.state)

    def frozen(self, trial_id: str) -> FrozenTrial:
        """The trial as the store has it now."""
        storage = self.optuna_study._storage
        return self.retry(lambda: storage.get_trial(self.live[trial_id]._trial_id))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the store is the state."""

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles the searcher beside its own state; database connections stay here."""
        return {"space": self.space, "fixed": self.fixed}
