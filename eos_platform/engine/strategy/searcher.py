"""The bridge from Ray Tune to the Optuna store, and from there to MLflow and the progress display.

Tune's own OptunaSearch aborts the study when an objective is missing, leaves a NaN trial RUNNING for ever, records
trials stopped early as COMPLETE, and can set neither constraints nor attributes. This one does none of that.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial
from ray.tune import Callback
from ray.tune.search import Searcher

from eos_platform.common.errors import EosError
from eos_platform.common.files import write_atomic
from eos_platform.costs.registry import COMPUTE
from eos_platform.engine.schema.conditions import suggest
from eos_platform.engine.schema.sections import Constraints
from eos_platform.engine.schema.space import Dimension
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.store.retry import Retry
from eos_platform.engine.store.run_dir import RunDir
from eos_platform.engine.strategy.constraints import bounds
from eos_platform.engine.strategy.verdict import Verdict, judge
from eos_platform.engine.sync.mlflow_writer import MlflowWriter
from eos_platform.engine.trial_result import is_number, measured, read
from eos_platform.objectives import DEFAULT
from eos_platform.protocols import Objective, TrialResult
from eos_platform.search.config import SearchConfig
from eos_platform.terminal.progress import ProgressDisplay


class Ended(NamedTuple):
    """A trial as the store has it at its end, and the front with it."""

    trial: FrozenTrial
    front: list[FrozenTrial]


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
        self.budgets: dict[str, float] = {}
        self._ended: dict[str, Ended] = {}
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
            self.optuna_study.sampler = self.sampler(stored.proposals(self.optuna_study.get_trials(deepcopy=False)))
        trial = self.optuna_study.ask()
        search = {**self.fixed, **suggest(trial, self.space)}
        budget = search.get("budget", SearchConfig.model_fields["budget"].default)
        self.budgets[trial_id] = float(budget)
        trial.set_user_attr(stored.BUDGET, float(budget))
        trial.set_user_attr(stored.RAY_ID, trial_id)
        self.live[trial_id] = trial
        root = trial.number
        if stored.RETRY_OF in trial.user_attrs:
            root = stored.root(self.optuna_study.get_trials(deepcopy=False), trial.number)
        return {"number": trial.number, "root": root, "search": search, "session": self.session}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Record the outcome, with all that MLflow or a reader may want, before the trial is closed."""
        result, budget = result or {}, self.budgets[trial_id]
        outcome = read(result, self.objectives)
        numbers = measured(outcome) if outcome else {}
        finite = {name: value for name, value in numbers.items() if is_number(value)}
        verdict = judge(result, error, outcome, numbers, self.objectives, self.constraints, budget, self.cost)
        if verdict.failure == stored.WORKER_DIED and (node := self.blamed()):
            verdict = verdict._replace(failure=node, again=True)
        if verdict.again:
            self.stopped = verdict.failure

        def tell() -> None:
            if not self._stored(trial_id).state.is_finished():
                self._tell(trial_id, verdict, outcome, finite)
            self._ended[trial_id] = Ended(self._stored(trial_id), stored.front(self.optuna_study))

        self.retry(tell)

    def _tell(self, trial_id: str, verdict: Verdict, outcome: TrialResult | None, finite: Mapping[str, float]) -> None:
        """``finite``: the numbers of the outcome that are any."""
        trial, known = self.live[trial_id], self._stored(trial_id)
        attrs: dict[str, Any] = {}
        if verdict.failure:
            attrs[stored.FAILURE] = verdict.failure
        if verdict.again:
            attrs[stored.AGAIN] = True
        if finite:
            attrs[stored.MEASURED] = dict(finite)
        if verdict.values and outcome:
            if outcome.regime:
                attrs[stored.REGIME] = outcome.regime
            if outcome.operator:
                stored.keep_operator(trial, outcome.operator)
        if stored.RUN_ID not in known.user_attrs and (run := self.run_of(trial.number)):
            attrs[stored.RUN_ID] = run
        if verdict.violated:
            attrs[stored.VIOLATED] = list(verdict.violated)
        for name, value in attrs.items():
            trial.set_user_attr(name, value)
        for bound in bounds(self.constraints, self.budgets[trial_id], self.cost) if verdict.values else ():
            if bound.key not in known.constraints:  # a store that went away may have some
                trial.set_constraint(bound.key, bound.excess(finite[bound.measure]))
        self.optuna_study.tell(trial.number, values=verdict.values, state=verdict.state)

    def frozen(self, trial_id: str) -> FrozenTrial:
        """The trial as the store has it now."""
        return self.retry(lambda: self._stored(trial_id))

    def _stored(self, trial_id: str) -> FrozenTrial:
        return self.optuna_study._storage.get_trial(self.live[trial_id]._trial_id)

    def ended(self, trial_id: str) -> Ended:
        """What the store had once the trial's outcome was recorded; asked once."""
        return self._ended.pop(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the store is the state."""

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles the searcher beside its own state; database connections stay here."""
        return {"space": self.space, "fixed": self.fixed}


class StudyCallback(Callback):
    """Tune tells the searcher (and so the store) first, then this."""

    def __init__(
        self, searcher: StudySearcher, mlflow_writer: MlflowWriter, display: ProgressDisplay, run_dir: RunDir
    ) -> None:
        self.searcher, self.mlflow_writer, self.display, self.folder = searcher, mlflow_writer, display, run_dir
        self.reported: dict[str, int] = {}  # the last step of each trial that has begun

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Open the run; a trial that starts again after its worker died keeps the one it has."""
        self.display.started(trial.config["number"])
        if trial.trial_id not in self.reported:
            self.reported[trial.trial_id] = 0
            self.mlflow_writer.start(stored.row_of(self.folder.study, self.searcher.frozen(trial.trial_id)))

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict, **info: Any) -> None:
        """A step curve; steps done again after a worker's death are the same ones, and are logged once."""
        if "curve" not in result:
            return
        number, step = trial.config["number"], result["step"]
        self.display.step(number, step, result["steps"])
        if step > self.reported[trial.trial_id]:
            self.reported[trial.trial_id] = step
            self.mlflow_writer.curves(number, step, result["curve"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Close the run as the store has it."""
        ended, front = self.searcher.ended(trial.trial_id)
        row = stored.row_of(self.folder.study, ended)
        trace = (trial.last_result or {}).get("traceback") if row.state == "failed" else None
        if trace:
            with suppress(EosError):  # a full disk; the reason itself is in the store
                write_atomic(self.folder.path / "failures" / f"trial-{row.number}.txt", trace)
        kept = (trial.last_result or {}).get("kept")
        self.mlflow_writer.finish(row, trace, kept, [best.number for best in front])
        if row.state in ("complete", "pruned"):
            self.folder.forget_state(trial.config["root"])
        if row.state == "interrupted":
            self.display.interrupted(row)
        else:
            self.display.finished(row, front)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The worker died once too often."""
        self.on_trial_complete(iteration, trials, trial, **info)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles callbacks beside its own state; nothing here is worth keeping."""
        return {}
