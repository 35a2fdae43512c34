"""Optuna's samplers, as black-box search uses them: imported only when asked for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from eos_platform.analysis.baselines.blackbox_space import Space
from eos_platform.common.errors import EosError, unknown

SAMPLERS = ("random", "tpe", "nsga2", "cmaes")
WIDE = 100  # numbers beyond which CMA-ES keeps only the diagonal of its covariance: a whole one is slow to learn


def check_samplers(names: Sequence[str]) -> None:
    """Refuse what cannot run, before anything is loaded.

    Raises:
        EosError: an unknown name, or a package that is missing.
    """
    for name in names:
        if name not in SAMPLERS:
            raise unknown("sampler", name, SAMPLERS)
    if find_spec("optuna") is None:
        raise EosError("black-box search needs the package 'optuna' (pip install optuna)")
    if "cmaes" in names and find_spec("cmaes") is None:
        raise EosError("sampler 'cmaes' needs the package 'cmaes' (pip install cmaes); or leave it out of the samplers")


def make_study(name: str, space: Space, seed: int, trials: int) -> tuple[Any, dict[str, Any]]:
    """An Optuna study whose first trial is where a gradient search starts, and what its trials are asked for.

    CMA-ES spreads from that start too. The others know it as their first trial.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions: dict[str, Any] = {}
    for entry in space.entries:
        scale = entry.scale
        distributions[entry.name] = optuna.distributions.FloatDistribution(scale.low, scale.high, log=scale.log)
    sampler: Any
    with warnings.catch_warnings():
        # Optuna calls the diagonal form experimental and a given start deprecated; without it, CMA-ES has no start
        warnings.simplefilter("ignore")
        if name == "cmaes":
            wide = len(space.entries) > WIDE
            sampler = optuna.samplers.CmaEsSampler(x0=space.start, seed=seed, use_separable_cma=wide)
        elif name == "nsga2":
            sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=max(4, min(50, trials // 10)))
        elif name == "tpe":
            sampler = optuna.samplers.TPESampler(seed=seed)
        else:
            sampler = optuna.samplers.RandomSampler(seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(space.start)
    return study, distributions
