"""OperatorBench under Ray Tune: a search space, and a trainable that reports as a real evaluation would.

    tuner = tune.Tuner(trainable(), param_space=param_space(bench.space()), tune_config=tune.TuneConfig(num_samples=50))
    tuner.fit()

Each report is of more questions (or search steps) than the one before, so that schedulers such as ASHA can stop trials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from eos_platform.benchmark.bench import DEFAULT, MODEL, WITHOUT_GRADIENTS, OperatorBench
from eos_platform.benchmark.space import Space
from eos_platform.common.errors import EosError

RUNGS = (64, 128, 256)  # questions, below all of them


def param_space(space: Space) -> dict[str, Any]:
    """Every parameter, drawn evenly from its choices; those that do not count at a point change nothing there."""
    from ray import tune

    return {one.name: tune.choice(list(one.choices)) for one in space.parameters}


def trainable(
    model: str = MODEL,
    families: Sequence[str] = WITHOUT_GRADIENTS,
    objectives: Sequence[str] = DEFAULT,
    *,
    fidelity: Literal["questions", "steps"] = "questions",
    rungs: Sequence[int] = RUNGS,
    path: str | None = None,
) -> Callable[[Mapping[str, Any]], None]:
    """A function for ``tune.Tuner``, whose workers read the table themselves.

    A report has the objectives by name, ``cost`` (questions run so far), ``questions`` and ``steps``.

    Args:
        fidelity: what grows from report to report: the questions, or the steps of the gradient search (family
            ``searched`` alone).
        rungs: numbers of questions to report after, before all of them.

    Raises:
        EosError: steps of families that have none.
    """
    if fidelity == "steps" and tuple(families) != ("searched",):
        raise EosError("fidelity: only searched operators have steps; families=('searched',)")
    taken = tuple(families), tuple(objectives), tuple(rungs)

    def run(config: Mapping[str, Any]) -> None:
        from ray import tune

        families, objectives, rungs = taken
        bench = OperatorBench(model, families, path)
        asked = [(n, None) for n in rungs if n < bench.questions] + [(bench.questions, None)]
        levels = [(bench.questions, steps) for steps in bench.steps] if fidelity == "steps" else asked
        for questions, steps in levels:
            answer = bench.query(config, objectives, questions, steps)
            tune.report({**answer.values, "cost": answer.cost, "questions": answer.questions, "steps": answer.steps})

    return run
