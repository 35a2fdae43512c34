"""Accuracy of a deployed operator: tokens really removed, answers judged by the task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from eos_platform.common.errors import EosError
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import in_order
from eos_platform.tasks.data.progress import counted
from eos_platform.tasks.scenes import Split


@dataclass(frozen=True)
class Evaluation:
    """What a model's answers are worth, in question order."""

    scores: np.ndarray  # (questions,) float, from 0 to 1
    skills: tuple[str, ...]  # of each question, its group

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

    @property
    def per_skill(self) -> dict[str, float]:
        """The same for each group of questions that was asked."""
        skills = np.asarray(self.skills)
        return {skill: float(self.scores[skills == skill].mean()) for skill in dict.fromkeys(self.skills)}

    @property
    def per_group(self) -> dict[str, float]:
        """``per_skill`` by the task's own word."""
        return self.per_skill


@torch.no_grad()
def evaluate(
    workload: Subject,
    operator: OperatorSpec | None = None,
    split: Split = "heldout",
    questions: int = 4096,
    batch_size: int | None = None,
) -> Evaluation:
    """Ask the model ``questions`` questions with an operator deployed on it (None: as it is).

    Raises:
        EosError: unknown split, or an operator made for another model.
    """
    encoded = workload.encoded(split, questions)
    if operator is not None:
        encoded = encoded.seen_by(operator)
    model = workload.model
    size = batch_size or (256 if model.device.type == "cuda" else 32)
    found, numbers = [], []
    for batch in counted("asking, batches", encoded.batches(size), -(-len(encoded) // size)):
        found.append(encoded.scores(batch, operator))
        numbers.append(batch.index_b)
    scores = in_order(found, numbers).cpu().numpy().astype(float)
    return Evaluation(scores, tuple(encoded.skills))
