"""The strategies a study file may name.

Each takes its state from the store alone, so a study goes on where it stopped, and copes with searches that failed or
were stopped early. All but ``qmc``, ``random`` and ``grid`` keep away from what constraints forbid.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    BruteForceSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial, TrialState

from eos_platform.engine.conditions import Space
from eos_platform.engine.sections import Sampler


class GridSampler(BruteForceSampler):
    """Every point of the space once, in an order drawn from the seed; conditions are minded.

    Optuna's own grid knows no conditions, and its exhaustive sampler calls ``study.stop`` at the end, which only
    ``study.optimize`` allows. The study file sees to it that there are enough points.
    """

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Nothing: the driver counts the trials."""


class SobolSampler(QMCSampler):
    """The point of a scrambled Sobol sequence that belongs to a proposal's number, whatever became of the others.

    Optuna's own counts what it gave out, trials that run another again included, and takes the space from the first
    trial, which is therefore drawn at random, and which knows nothing of fields that vary under a condition.
    """

    def __init__(self, number: int, space: Space, seed: int) -> None:
        super().__init__(
            scramble=True, seed=seed, independent_sampler=RandomSampler(seed=seed), warn_independent_sampling=False
        )
        self.number, self.space = number, space

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All that varies; what a condition leaves out is not asked for."""
        found = {name: dimension.distribution() for name, dimension in self.space.items()}
        return {name: distribution for name, distribution in found.items() if not distribution.single()}

    def _find_sample_id(self, study: optuna.Study, search_space: dict[str, BaseDistribution]) -> int:
        return self.number


def make_sampler(sampler: Sampler, number: int, target: int, space: Space) -> BaseSampler:
    """The Optuna sampler for one proposal.

    Args:
        number: of the proposal: how many there were before it. No two are drawn from the same random numbers.
        target: trials in all; the population and the random start are a share of them.
        space: of the study.
    """
    seed = sampler.seed + number
    population = max(4, min(50, target // 4))
    start = max(4, min(10, target // 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        match sampler.name:
            case "nsga2":
                return NSGAIISampler(seed=seed, population_size=population)
            case "nsga3":
                # as many reference points as individuals, for two objectives
                return NSGAIIISampler(seed=seed, population_size=population, dividing_parameter=population - 1)
            case "gp":
                independent = RandomSampler(seed=seed)
                return GPSampler(
                    seed=seed,
                    independent_sampler=independent,
                    n_startup_trials=start,
                    deterministic_objective=False,
                    warn_independent_sampling=False,
                )
            case "random":
                return RandomSampler(seed=seed)
            case "qmc":
                return SobolSampler(number, space, sampler.seed)
            case "grid":
                return GridSampler(seed=seed)
            case "tpe":
                return TPESampler(seed=seed, n_startup_trials=start)
