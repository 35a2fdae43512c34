"""OperatorBench under Optuna: points suggested by trials, and objectives for ``study.optimize``.

    study = optuna.create_study(directions=["minimize", "minimize"])
    study.optimize(objective(bench), n_trials=100)

A parameter whose choices are in order is suggested as the number of its choice, the others as categories.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from eos_platform.benchmark.bench import DEFAULT, OperatorBench
from eos_platform.benchmark.space import Config, Space, Value
from eos_platform.common.errors import EosError

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

RUNGS = (64, 128, 256)


def suggest(trial: optuna.Trial, space: Space, *, conditional: bool = True) -> Config:
    """A point, as a trial suggests it.

    Args:
        conditional: ask only for parameters that count, given those before. Samplers that model all parameters together
            (GP, CMA-ES) see only what every trial has: for them, ask for all.
    """
    full: Config = {}
    for one in space.parameters:
        counts = len(one.choices) > 1 and (not conditional or len(space.choices(one.name, full)) > 1)
        if not counts:
            full[one.name] = one.choices[0]
        elif one.ordered:
            full[one.name] = one.choices[trial.suggest_int(one.name, 0, len(one.choices) - 1)]
        else:
            full[one.name] = cast(Value, trial.suggest_categorical(one.name, one.choices))
    return space.canonical(full)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Of all parameters, for ``study.ask`` and ``study.enqueue_trial``."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    return {
        one.name: IntDistribution(0, len(one.choices) - 1) if one.ordered else CategoricalDistribution(one.choices)
        for one in space.parameters
        if len(one.choices) > 1
    }


def directions(objectives: Sequence[str] = DEFAULT) -> list[Literal["minimize", "maximize"]]:
    """Of a study of these objectives."""
    return ["minimize" if OperatorBench.minimised(name) else "maximize" for name in objectives]


def objective(
    bench: OperatorBench,
    objectives: Sequence[str] = DEFAULT,
    *,
    conditional: bool = True,
    questions: int | None = None,
    rungs: Sequence[int] = (),
) -> Callable[[optuna.Trial], Any]:
    """What ``study.optimize`` calls: the values of a trial's point, which is kept in its user attribute ``config``.

    Args:
        objectives: one, or several.
        conditional: as for ``suggest``.
        questions: that accuracies are of; default: all.
        rungs: numbers of questions after which a study of one objective may prune a trial (``RUNGS``, say); what it
            took by then is in its user attribute ``cost``.

    Raises:
        EosError: rungs for several objectives, which Optuna cannot prune by.
    """
    if rungs and len(objectives) > 1:
        raise EosError("rungs: Optuna prunes by one objective alone; leave them out, or name one")

    def run(trial: optuna.Trial) -> Any:
        import optuna

        config = suggest(trial, bench.space(), conditional=conditional)
        trial.set_user_attr("config", config)
        for rung in rungs:
            answer = bench.query(config, objectives, rung)
            trial.set_user_attr("cost", answer.cost)
            trial.report(answer[objectives[0]], rung)
            if trial.should_prune():
                raise optuna.TrialPruned
        answer = bench.query(config, objectives, questions)
        trial.set_user_attr("cost", answer.cost)
        values = tuple(answer[name] for name in objectives)
        return values if len(values) > 1 else values[0]

    return run
