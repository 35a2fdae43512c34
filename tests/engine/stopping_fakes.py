"""A search of milliseconds that deploys on the way: how good it is going to be shows from its first step."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import engine_fakes as fakes

from eos_platform.operators.spec import OperatorSpec, SiteSpec


def search(
    workload: Any, config: Any, *, report: Any = None, checkpoint: Any = None, start: Any = None, measure: Any = None
) -> Any:
    """The learning rate is how good it is; ``budget_weight`` above 50 is a relaxed form that stays over its budget."""
    accuracy, ratio = 0.5 + config.learning_rate, config.budget * 0.9
    soft = 3 * config.budget if config.budget_weight > 50 else config.budget
    keep = max(1, int(576 * config.budget * 0.8))
    operator = OperatorSpec(target=fakes.TARGET, sites=(SiteSpec(layer=0, keep=keep, score={"norm": 1.0}),))
    for step in range(1, config.steps + 1):
        curves = {"loss": 1.0 / step, "soft_compute_ratio": soft}
        if config.eval_every and step % config.eval_every == 0:
            curves |= {"accuracy": accuracy, "compute_ratio": ratio}
            if measure is not None:
                curves |= measure(operator, evaluate(workload, operator, "validation", config.eval_questions))
        report(step, curves)
    return SimpleNamespace(
        operator=operator,
        accuracy=accuracy,
        compute_ratio=ratio,
        relaxed_accuracy=accuracy if start is None else 1.0,  # shows where it started
        mean_tokens=operator.mean_tokens,
        samples=1,
        seconds=0.1,
    )


def evaluate(workload: Any, operator: OperatorSpec | None, split: str, questions: int) -> Any:
    """Counting is hard for operators that keep little."""
    found = fakes.evaluate(workload, operator, split, questions)
    found.per_skill = {"counting": 0.9 if operator is None or operator.tokens_left > 60 else 0.2, "color": 0.9}
    return found


def cost(name: str, workload: Any, operator: OperatorSpec | None, questions: int, split: str = "validation") -> float:
    """Milliseconds, or whatever."""
    return float(operator.tokens_left if operator else fakes.TARGET.tokens)


FUNCTIONS = replace(fakes.FUNCTIONS, search=search, evaluate=evaluate, cost=cost)
