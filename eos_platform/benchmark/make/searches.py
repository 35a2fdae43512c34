"""Gradient searches whose operators are kept on the way: rows of the table with a number of steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from eos_platform.benchmark.space import Config
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.config import SearchConfig
from eos_platform.search.run import search
from eos_platform.tasks.base import Subject
from eos_platform.tasks.evaluate import Evaluation

STEPS = (30, 60, 120, 240, 480)
BATCH, SEEN, VALIDATION = 32, 4096, 128  # questions: a step, that a search may see, asked on the way


def snapshots(workload: Subject, config: Config) -> Iterator[tuple[int, OperatorSpec]]:
    """What one search would have deployed after so many steps, and in the end what it has.

    The schedule is that of the whole search: an operator on the way is that of a search stopped there, not that of a
    shorter one.

    Raises:
        EosError: the budget cannot be met.
        SearchDiverged: the loss became NaN or infinite.
    """
    found: list[OperatorSpec] = []

    def keep(operator: OperatorSpec, evaluation: Evaluation) -> Mapping[str, float]:
        found.append(operator)
        return {}

    settings = SearchConfig(
        budget=float(config["budget"]),
        learning_rate=float(config["learning_rate"]),
        steering_rank=int(config["steering_rank"]),
        steps=STEPS[-1],
        batch_size=BATCH,
        search_questions=SEEN,
        eval_questions=VALIDATION,
        eval_every=STEPS[0],
        portfolio=False,
    )
    result = search(workload, settings, measure=keep, measured=False)
    for steps in STEPS[:-1]:
        yield steps, found[steps // STEPS[0] - 1]
    yield STEPS[-1], result.operator
