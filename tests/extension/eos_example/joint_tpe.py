"""A sampler: Optuna's TPE over all fields at once, which avoids what is under way elsewhere."""

from __future__ import annotations

from optuna.samplers import BaseSampler, TPESampler

from eos_platform.engine.strategy.samplers import Proposal


def joint_tpe(proposal: Proposal) -> BaseSampler:
    """The sampler of one proposal."""
    return TPESampler(
        seed=proposal.seed,
        n_startup_trials=proposal.startup,
        multivariate=True,
        constant_liar=True,
    )
