"""The Tune scheduler that stops searches early: at rungs, by what they have deployed so far, and over their budget.

What each search had deployed on the way (its course) is kept with its trial in the store, so a resumed study compares
with all that came before. The same reports in the same order lead to the same decisions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from eos_platform.costs.registry import COMPUTE
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.store.retry import Retry
from eos_platform.engine.strategy.rungs import InterimEvaluation, Rungs, judge_budget, rung_levels, rungs_of
from eos_platform.objectives import DEFAULT
from eos_platform.protocols import Objective
from eos_platform.search.config import SearchConfig
from eos_platform.search.step import SOFT_COST

CURVE = "curve/"  # what a report on the way carries, flattened by Tune


class MoashaScheduler(FIFOScheduler):
    """Stops searches that others leave behind, and those that cannot reach their budget.

    Args:
        live: the running trials by Ray's id, as the searcher knows them.
        trials: all trials of the study so far.
        retry: how to call a store that may be away.
    """

    def __init__(
        self,
        study: StudyFile,
        live: Mapping[str, optuna.Trial],
        trials: Iterable[FrozenTrial],
        retry: Retry | None = None,
    ) -> None:
        super().__init__()
        self.plan, self.live, self.objectives = study.scheduler, live, study.axes
        self.cost = str(study.search.get("cost", COMPUTE))  # that budgets are about
        self.retry = retry or Retry()
        plan = self.plan
        self.rungs = Rungs(plan.reduction, plan.min_searches, plan.tie_break, plan.spare_front, self.objectives)
        self.courses: dict[int, dict[int, InterimEvaluation]] = {}  # search -> step -> evaluation
        self.stopped: dict[int, str] = {}  # search -> why
        trials = list(trials)
        for trial in trials:
            search = stored.root(trials, trial.number)
            self.courses.setdefault(search, {}).update({seen.step: seen for seen in course_of(trial)})
            if stored.STOPPED in trial.user_attrs:
                self.stopped[search] = trial.user_attrs[stored.STOPPED]
            varied = {
                name: study.space[name].value(value) for name, value in trial.params.items() if name in study.space
            }
            steps = SearchConfig.model_construct(**{**study.search, **varied}).steps
            for level, point in rungs_of(self.courses[search].values(), self._levels(steps)).items():
                self.rungs.record(level, search, point)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """CONTINUE, or STOP with the reason in the store."""
        seen = evaluation_in(result, self.objectives, self.cost)
        search, live = trial.config["root"], self.live[trial.trial_id]
        if seen is None and search not in self.stopped:
            return TrialScheduler.CONTINUE
        # a driver may have died between the reason and the end of the trial: what was decided stands
        why = self.stopped.get(search)
        if seen is not None and why is None:
            why = self._judge(search, live, SearchConfig.of(trial.config["search"]), seen)
        if why is None or result.get("finished"):
            return TrialScheduler.CONTINUE
        self.stopped[search] = why
        self.retry(lambda: live.set_user_attr(stored.STOPPED, why))
        return TrialScheduler.STOP

    def _judge(self, search: int, live: optuna.Trial, config: SearchConfig, seen: InterimEvaluation) -> str | None:
        course = self.courses.setdefault(search, {})
        course[seen.step] = seen
        evaluations = [course[step] for step in sorted(course)]
        self.retry(lambda: live.set_user_attr(stored.COURSE, [_kept(one) for one in evaluations]))
        if self.plan.reach_budget and seen.step >= (self.plan.grace or 0):
            last = config.steps - round(config.straight_through * config.steps)  # counts are whole from there on
            why = judge_budget(evaluations, config.budget, last, cost=self.cost)
            if why:
                return why
        levels = self._levels(config.steps)
        come_to = rungs_of(evaluations, levels)
        new = [level for level in come_to if level not in rungs_of(evaluations[:-1], levels)]
        if not new or evaluations[-1] is not seen:
            return None
        self.rungs.record(new[-1], search, come_to[new[-1]])
        return self.rungs.judge(new[-1], search)

    def _levels(self, steps: int) -> list[int]:
        return rung_levels(self.plan.grace or 1, self.plan.reduction, steps)

    def __getstate__(self) -> dict[str, Any]:
        """The store is the state; database connections stay here."""
        return {"plan": self.plan}


def make_scheduler(
    study: StudyFile, optuna_study: optuna.Study, live: Mapping[str, optuna.Trial], retry: Retry | None = None
) -> FIFOScheduler | None:
    """The scheduler the study file names; None: every search runs to its end."""
    if study.scheduler.name == "none":
        return None
    return MoashaScheduler(study, live, optuna_study.get_trials(deepcopy=False), retry)


def evaluation_in(
    result: Mapping[str, Any], objectives: Sequence[Objective] = DEFAULT, cost: str = COMPUTE
) -> InterimEvaluation | None:
    """The deployed evaluation a report carries, if any; what is missing or no number in it is NaN.

    Args:
        cost: that the search's budget is about.
    """
    keys = [f"{CURVE}{one.metric}" for one in objectives]
    if not any(key in result for key in keys):
        return None
    values = tuple(_number(result.get(key)) for key in keys)
    costs = [
        _number(result.get(f"{CURVE}{name}")) for name in (cost, "soft_compute_ratio" if cost == COMPUTE else SOFT_COST)
    ]
    dearest = max((value for value in costs if not math.isnan(value)), default=math.nan)
    return InterimEvaluation(int(result["step"]), values, dearest)


def course_of(trial: FrozenTrial) -> list[InterimEvaluation]:
    """The deployed evaluations of a trial, as the store has them."""
    course = trial.user_attrs.get(stored.COURSE, [])
    return [
        InterimEvaluation(int(step), tuple(map(_number, values)), _number(dearest)) for step, *values, dearest in course
    ]


def _number(value: Any) -> float:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else math.nan


def _kept(seen: InterimEvaluation) -> list[float | None]:
    """Databases' JSON has no NaN."""
    return [None if math.isnan(value) else value for value in (seen.step, *seen.values, seen.dearest)]
