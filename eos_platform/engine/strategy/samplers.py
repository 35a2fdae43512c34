"""The strategies a study file may name.

Each takes its state from the store alone, so a study goes on where it stopped, and copes with searches that failed or
were stopped early. All but ``qmc``, ``random`` and ``grid`` keep away from what constraints forbid.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

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

from eos_platform.common.boundary import reading
from eos_platform.common.errors import EosError, shown
from eos_platform.engine.schema.conditions import Space
from eos_platform.engine.schema.sections import Sampler
from eos_platform.plugins import Registry


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
        distributions = {name: dimension.distribution() for name, dimension in self.space.items()}
        return {name: distribution for name, distribution in distributions.items() if not distribution.single()}

    def _find_sample_id(self, study: optuna.Study, search_space: dict[str, BaseDistribution]) -> int:
        return self.number


@dataclass(frozen=True)
class Proposal:
    """What a sampler is made for: one proposal of a study.

    Attributes:
        seed: of this proposal; no two proposals of a study have the same.
        base_seed: the study's.
        number: how many proposals there were before.
        trials: of the study in all.
        space: of the study.
        objectives: how many the study has.
    """

    seed: int
    base_seed: int
    number: int
    trials: int
    space: Space
    objectives: int = 2

    @property
    def population(self) -> int:
        """A share of the trials, for samplers that evolve one."""
        return max(4, min(50, self.trials // 4))

    @property
    def startup(self) -> int:
        """Random trials before a model is fitted."""
        return max(4, min(10, self.trials // 3))


MakeSampler = Callable[[Proposal], BaseSampler]


def _is_callable(thing: Any) -> MakeSampler:
    if not callable(thing) or (isinstance(thing, type) and issubclass(thing, BaseSampler)):
        kind = f"the class {thing.__name__}" if isinstance(thing, type) else type(thing).__name__
        raise TypeError(f"expected a function of a Proposal that returns an Optuna sampler, found {kind}")
    return cast(MakeSampler, thing)


SAMPLERS: Registry[MakeSampler] = Registry("sampler", "samplers", _is_callable)


def _gp(of: Proposal) -> BaseSampler:
    return GPSampler(
        seed=of.seed,
        independent_sampler=RandomSampler(seed=of.seed),
        n_startup_trials=of.startup,
        deterministic_objective=False,
        warn_independent_sampling=False,
    )


def _nsga3(of: Proposal) -> BaseSampler:
    # about as many reference points as individuals: p + 1 for two objectives, (p + 1)(p + 2) / 2 for three
    divisions = of.population - 1 if of.objectives == 2 else max(1, round((2 * of.population) ** 0.5) - 1)
    return NSGAIIISampler(seed=of.seed, population_size=of.population, dividing_parameter=divisions)


for _name, _make in {
    "tpe": lambda of: TPESampler(seed=of.seed, n_startup_trials=of.startup),
    "nsga2": lambda of: NSGAIISampler(seed=of.seed, population_size=of.population),
    "nsga3": _nsga3,
    "gp": _gp,
    "qmc": lambda of: SobolSampler(of.number, of.space, of.base_seed),
    "random": lambda of: RandomSampler(seed=of.seed),
    "grid": lambda of: GridSampler(seed=of.seed),
}.items():
    SAMPLERS.register(_name, _make)


def make_sampler(sampler: Sampler, number: int, target: int, space: Space, objectives: int = 2) -> BaseSampler:
    """The Optuna sampler for one proposal.

    Args:
        sampler: of the study file.
        number: of the proposal: how many there were before it. No two are drawn from the same random numbers.
        target: trials in all; the population and the random start are a share of them.
        space: of the study.
        objectives: how many the study has.

    Raises:
        EosError: no sampler has that name, or the package that brings it is broken or makes something else.
    """
    make = SAMPLERS.get_named(sampler.name)
    with warnings.catch_warnings(), reading(f"sampler '{sampler.name}'"):  # it may be another package's
        warnings.simplefilter("ignore", ExperimentalWarning)
        made = make(Proposal(sampler.seed + number, sampler.seed, number, target, space, objectives))
    if not isinstance(made, BaseSampler):
        raise EosError(f"sampler '{sampler.name}': an Optuna sampler is expected, not {shown(made)}")
    return made
