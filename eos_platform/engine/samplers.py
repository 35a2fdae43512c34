"""The samplers a study file may name."""

from __future__ import annotations

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler

from eos_platform.engine.study_file import Sampler


def make_sampler(sampler: Sampler, trials_told: int, target: int) -> BaseSampler:
    """The Optuna sampler.

    Args:
        trials_told: trials in the store; a resumed study must not propose the same points again.
        target: trials in all; the population and the random start are a share of them.
    """
    seed = sampler.seed + trials_told
    if sampler.name == "nsga2":
        return NSGAIISampler(seed=seed, population_size=max(4, min(50, target // 4)))
    if sampler.name == "random":
        return RandomSampler(seed=seed)
    if sampler.name == "qmc":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            # the sequence itself is seeded by the study alone: a resumed study goes on along it
            return QMCSampler(
                scramble=True,
                seed=sampler.seed,
                independent_sampler=RandomSampler(seed=seed),
                warn_independent_sampling=False,
            )
    return TPESampler(seed=seed, n_startup_trials=max(4, min(10, target // 3)))
