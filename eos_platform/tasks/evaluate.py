"""Accuracy of a deployed operator: tokens really removed, answers judged by the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from eos_platform.common.errors import EosError, expected
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import ask
from eos_platform.tasks.scenes import Split

SHOWN = 8  # groups in an evaluation's repr


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What a model's answers are worth, in question order."""

    scores: np.ndarray  # (questions,) float, from 0 to 1
    skills: tuple[str, ...]  # of each question, its group
    find_subsets: Callable[[], Mapping[str, np.ndarray]] = field(default=dict, repr=False, compare=False)

    def __repr__(self) -> str:
        if not self.questions:
            return "Evaluation: no questions"
        reported = [f"{skill} {100 * value:.1f}" for skill, value in sorted(self.per_skill.items())]
        more = f" and {len(reported) - SHOWN} more" if len(reported) > SHOWN else ""
        groups = f" ({', '.join(reported[:SHOWN])}{more})" if len(reported) > 1 else ""
        return f"Evaluation: {100 * self.accuracy:.1f} % of {self.questions} questions{groups}"

    @property
    def questions(self) -> int:
        """How many were asked."""
        return len(self.scores)

    @cached_property
    def exact(self) -> bool:
        """Whether every answer is right or wrong, and nothing between."""
        return bool(np.isin(self.scores, (0, 1)).all())

    @property
    def correct(self) -> np.ndarray:
        """Which questions were answered rightly, bool.

        Raises:
            EosError: some answers are neither right nor wrong.
        """
        if not self.exact:
            raise EosError("answers of this task are worth shares, not just right or wrong: see 'scores'")
        return self.scores.astype(bool)

    @property
    def accuracy(self) -> float:
        """The mean score: of answers right or wrong, the share of the right ones."""
        return float(self.scores.mean())

    @cached_property
    def subsets(self) -> dict[str, np.ndarray]:
        """Further groups, which share questions with others: (questions,) bool of each that has any."""
        return {name: chosen for name, chosen in self.find_subsets().items() if chosen.any()}

    @property
    def per_skill(self) -> dict[str, float]:
        """The same for each group of questions that was asked, and for each subset."""
        skills = np.asarray(self.skills)
        shares = {skill: float(self.scores[skills == skill].mean()) for skill in dict.fromkeys(self.skills)}
        return shares | {name: float(self.scores[chosen].mean()) for name, chosen in self.subsets.items()}

    @property
    def per_group(self) -> dict[str, float]:
        """``per_skill`` by the task's own word."""
        return self.per_skill

    def __reduce__(self) -> Any:
        """The subsets themselves go along, not the model that tells them."""
        return _with_subsets, (self.scores, self.skills, self.subsets)


def _with_subsets(scores: np.ndarray, skills: tuple[str, ...], subsets: dict[str, np.ndarray]) -> Evaluation:
    return Evaluation(scores, skills, partial(dict, subsets))


@torch.no_grad()
def evaluate(
    workload: Subject,
    operator: OperatorSpec | None = None,
    split: Split = "heldout",
    questions: int = 4096,
    batch_size: int | None = None,
    answered: Callable[[int], None] = lambda count: None,
) -> Evaluation:
    """Ask the model ``questions`` questions with an operator deployed on it (None: as it is).

    Args:
        answered: told, after each batch, how many questions it had.

    Raises:
        EosError: unknown split, an operator made for another model, or an argument of the wrong type.
    """
    if not isinstance(workload, Subject):
        raise expected("workload", "what eos.load_workload(model) gives", workload)
    if operator is not None and not isinstance(operator, OperatorSpec):
        raise expected("operator", "an operator, or None,", operator)
    for name, count in (("questions", questions), ("batch_size", 1 if batch_size is None else batch_size)):
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise expected(name, "a whole number from 1", count)
    scores = ask(workload.encoded(split, questions), operator, batch_size, answered)
    skills = tuple(workload.encoded(split, questions).skills)
    return Evaluation(scores, skills, partial(workload.subsets, split, questions))
