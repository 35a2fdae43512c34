"""A design's own hyperparameters, tuned fairly: with as many sample evaluations as one differentiable search takes.

Optuna's TPE asks for knobs; the design with those knobs, matched to the ratio, answers questions of the search split.
A trial whose knobs the ratio cannot be reached with, or that gives an operator already tried, evaluates nothing and so
is not counted; there are at most ``PATIENCE`` times as many asked as counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.costs.flops import compute_ratio
from eos_platform.costs.match import match
from eos_platform.operators.designs import Design
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.base import Subject
from eos_platform.tasks.evaluate import evaluate

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

    from eos_platform.operators.designs.base import Knob

PATIENCE = 4
Notify = Callable[[int, int, float], None]  # trials counted, of how many, best accuracy so far


@dataclass(frozen=True)
class Tuned:
    """What tuning chose."""

    operator: OperatorSpec
    knobs: dict[str, Any]
    accuracy: float  # on the questions it was tuned on
    default_accuracy: float | None  # of the published knobs there; None where they cannot reach the ratio
    trials: int  # counted
    samples: int  # questions answered in all of them
    proposed: int


def tune(
    workload: Subject,
    design: Design,
    ratio: float,
    *,
    trials: int,
    samples: int,
    seed: int = 0,
    notify: Notify | None = None,
) -> Tuned:
    """The best knobs of ``design`` at ``ratio``: most accurate, then least compute. Published knobs are tried first.

    Args:
        trials: how many sets of knobs are evaluated.
        samples: question evaluations in all, shared alike.

    Raises:
        EosError: no knobs reach the ratio.
    """
    return _Tuning(workload, design, ratio, samples // trials).run(trials, seed, notify)


@dataclass(frozen=True)
class _Answer:
    operator: OperatorSpec
    knobs: dict[str, Any]
    accuracy: float
    cost: float

    @property
    def rank(self) -> tuple[float, float]:
        return (self.accuracy, -self.cost)


class _Tuning:
    def __init__(self, workload: Subject, design: Design, ratio: float, questions: int) -> None:
        self.workload, self.design, self.ratio, self.questions = workload, design, ratio, questions
        self.knobs = design.knobs(workload.target)
        self.known: dict[str, _Answer] = {}
        self.failure: EosError | None = None

    def run(self, trials: int, seed: int, notify: Notify | None) -> Tuned:
        import optuna

        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(4, min(10, trials // 3)))
            study = optuna.create_study(direction="maximize", sampler=sampler)
            study.enqueue_trial({knob.name: _encoded(knob, knob.default) for knob in self.knobs})
            space = {knob.name: distribution(knob) for knob in self.knobs}
            proposed, default = 0, None
            while len(self.known) < trials and proposed < PATIENCE * trials:
                trial = study.ask(space)
                answer = self.answer({knob.name: _decoded(knob, trial.params[knob.name]) for knob in self.knobs})
                if proposed == 0:
                    default = answer
                proposed += 1
                self._record(study, trial, answer)
                if notify and self.known:
                    notify(len(self.known), trials, self.best().accuracy)
        finally:
            optuna.logging.set_verbosity(verbosity)
        if not self.known:
            assert self.failure is not None
            raise self.failure
        best = self.best()
        return Tuned(
            operator=best.operator,
            knobs=best.knobs,
            accuracy=best.accuracy,
            default_accuracy=default.accuracy if default else None,
            trials=len(self.known),
            samples=len(self.known) * self.questions,
            proposed=proposed,
        )

    def best(self) -> _Answer:
        """The first of the best."""
        return max(self.known.values(), key=lambda answer: answer.rank)

    def answer(self, knobs: Mapping[str, Any]) -> _Answer | None:
        """What these knobs achieve; None where they cannot be built or the ratio is out of reach."""
        workload = self.workload
        try:
            operator = match(
                self.design, self.ratio, workload.target, workload.shape, workload.text_tokens, **dict(knobs)
            )
        except EosError as error:
            self.failure = error
            return None
        data = strict_json.loads(operator.to_json())
        same = strict_json.dumps([data["image"], data["sites"]], sort_keys=True)
        if same not in self.known:
            accuracy = evaluate(workload, operator, "search", self.questions).accuracy
            cost = float(compute_ratio(operator, workload.shape, workload.text_tokens))
            self.known[same] = _Answer(operator, dict(knobs), accuracy, cost)
        return self.known[same]

    def _record(self, study: optuna.Study, trial: optuna.Trial, answer: _Answer | None) -> None:
        from optuna.trial import TrialState

        if answer is None:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, answer.accuracy)


def distribution(knob: Knob) -> BaseDistribution:
    """How Optuna varies a knob; choices are told by their number, as they may be of any type."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if knob.choices:
        return CategoricalDistribution(range(len(knob.choices)))
    if knob.low is None or knob.high is None:
        raise EosError(f"knob '{knob.name}' has neither choices nor bounds")
    if isinstance(knob.default, int):
        return IntDistribution(math.ceil(knob.low), math.floor(knob.high), log=knob.log)
    return FloatDistribution(knob.low, knob.high, log=knob.log)


def _encoded(knob: Knob, value: Any) -> Any:
    return knob.choices.index(value) if knob.choices else value


def _decoded(knob: Knob, value: Any) -> Any:
    return knob.choices[value] if knob.choices else value
