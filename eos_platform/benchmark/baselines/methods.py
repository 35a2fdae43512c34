"""The optimisers that are compared, as they come: settings are the libraries' own but for what is said here.

Each is given a table, objectives that are minimised, a number of evaluations and a seed, and leaves a history: what it
had spent in questions when it knew the objectives of a point in full.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eos_platform.benchmark.bench import OperatorBench
from eos_platform.benchmark.space import Value
from eos_platform.benchmark.with_optuna import directions, objective
from eos_platform.engine.strategy.rungs import Rungs
from eos_platform.protocols import Objective

STARTUP = 20  # random points before a model is fitted
POPULATION = 20  # of NSGA-II
REDUCTION = 4  # of MO-ASHA: a quarter of what reaches a rung goes on, to four times the questions
LEAST = 4  # results that a rung needs before it stops anyone
LATEST = 50  # results that a rung compares: ranking thousands for each of thousands would take minutes a run
DIRECTIONS = 5  # weights between the objectives that CMA-ES is run with, one after the other


@dataclass
class History:
    """What an optimiser knows in full, and when.

    Attributes:
        spent: questions, at each point.
        points: their objectives.
        total: questions spent by now.
    """

    bench: OperatorBench
    objectives: Sequence[str]
    spent: list[int] = field(default_factory=list)
    points: list[tuple[float, ...]] = field(default_factory=list)
    total: int = 0

    def ask(self, config: Mapping[str, Value]) -> tuple[float, ...]:
        """Evaluate a point with all questions."""
        answer = self.bench.query(config, self.objectives)
        self.total += answer.cost
        return self.known(tuple(answer[name] for name in self.objectives))

    def known(self, values: tuple[float, ...]) -> tuple[float, ...]:
        """Note a point."""
        self.spent.append(self.total)
        self.points.append(values)
        return values


Method = Callable[[OperatorBench, Sequence[str], int, int], History]


def random_search(bench: OperatorBench, objectives: Sequence[str], evaluations: int, seed: int) -> History:
    """Points drawn one after the other."""
    history, rng = History(bench, objectives), random.Random(seed)
    for _ in range(evaluations):
        history.ask(bench.sample(rng))
    return history


def _optuna(make: Callable[[int], Any], conditional: bool) -> Method:
    def run(bench: OperatorBench, objectives: Sequence[str], evaluations: int, seed: int) -> History:
        import optuna

        history = History(bench, objectives)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some samplers are called experimental
            study = optuna.create_study(directions=directions(objectives), sampler=make(seed))
            values = objective(bench, objectives, conditional=conditional)

            def told(trial: Any) -> Any:
                found = values(trial)
                history.total += int(trial.user_attrs["cost"])
                return history.known(found)

            study.optimize(told, n_trials=evaluations)
        return history

    return run


def _tpe(seed: int) -> Any:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, n_startup_trials=STARTUP)


def _nsga2(seed: int) -> Any:
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=seed, population_size=POPULATION)


def _gp(seed: int) -> Any:
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, n_startup_trials=STARTUP, deterministic_objective=True)


def cma_es(bench: OperatorBench, objectives: Sequence[str], evaluations: int, seed: int) -> History:
    """CMA-ES with margin, which keeps discrete numbers apart, for one scalar at a time.

    It knows neither several objectives nor categories: it is run for ``DIRECTIONS`` weights of the augmented
    Chebyshev scalar in turn, with categories as numbers in their order.
    """
    from cmaes import CMAwM  # type: ignore[import-untyped]

    history, space = History(bench, objectives), bench.space()
    size = len(space)
    steps = np.array([1 / max(1, len(one.choices) - 1) for one in space.parameters])
    bounds = np.tile([0.0, 1.0], (size, 1))
    weights = np.random.default_rng(seed).permutation(np.linspace(0.1, 0.9, DIRECTIONS))
    for number, weight in enumerate(weights):
        until = round(evaluations * (number + 1) / DIRECTIONS)
        optimiser = CMAwM(mean=np.full(size, 0.5), sigma=0.3, bounds=bounds, steps=steps, seed=seed * 100 + number)
        while len(history.points) < until:
            told = []
            for _ in range(optimiser.population_size):
                point_d, raw_d = optimiser.ask()
                values = np.array(history.ask(_nearest(bench, point_d)))
                both = values * (weight, 1 - weight)
                told.append((raw_d, float(both.max() + 0.05 * both.sum())))
                if len(history.points) >= until:
                    break
            if len(told) < optimiser.population_size:
                break
            optimiser.tell(told)
    return history


def _nearest(bench: OperatorBench, point_d: np.ndarray) -> Mapping[str, Value]:
    space = bench.space()
    return space.canonical(
        {
            one.name: one.choices[round(float(min(1.0, max(0.0, value))) * (len(one.choices) - 1))]
            for value, one in zip(point_d, space.parameters, strict=True)
        }
    )


def mo_asha(bench: OperatorBench, objectives: Sequence[str], evaluations: int, seed: int) -> History:
    """Random points, stopped at rungs of questions by several objectives at once (the engine's own MO-ASHA)."""
    history, rng = History(bench, objectives), random.Random(seed)
    levels = [bench.questions // REDUCTION**2, bench.questions // REDUCTION]
    axes = [Objective(name, "minimise" if bench.minimised(name) else "maximise", name) for name in objectives]
    rungs = Rungs(REDUCTION, LEAST, objectives=axes)
    number = 0
    while history.total < evaluations * bench.questions:
        config, before, number = bench.sample(rng), 0, number + 1
        for level in levels:
            answer = bench.query(config, objectives, level)
            history.total += level - before
            before = level
            rungs.record(level, number, tuple(answer[name] for name in objectives))
            while len(rungs.reached[level]) > LATEST:
                del rungs.reached[level][min(rungs.reached[level])]
            if rungs.judge(level, number) is not None:
                break
        else:
            history.total += bench.questions - before
            answer = bench.query(config, objectives)
            history.known(tuple(answer[name] for name in objectives))
    return history


METHODS: dict[str, Method] = {
    "random": random_search,
    "tpe": _optuna(_tpe, conditional=True),
    "nsga2": _optuna(_nsga2, conditional=False),
    "gp": _optuna(_gp, conditional=False),
    "cma-es": cma_es,
    "mo-asha": mo_asha,
}
