"""Accuracy of a deployed operator: tokens really removed, answers right to the last letter."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch

from eos_platform.models.runtime.attach import reducing
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import answered, in_order
from eos_platform.tasks.scenes import Split


@dataclass(frozen=True)
class Evaluation:
    """Which questions a model answered exactly, in question order."""

    correct: np.ndarray  # (questions,) bool
    skills: tuple[str, ...]  # of each question

    @property
    def questions(self) -> int:
        """How many were asked."""
        return len(self.correct)

    @property
    def accuracy(self) -> float:
        """Share answered exactly."""
        return float(self.correct.mean())

    @property
    def per_skill(self) -> dict[str, float]:
        """The same for each skill that was asked about."""
        skills = np.asarray(self.skills)
        return {skill: float(self.correct[skills == skill].mean()) for skill in dict.fromkeys(self.skills)}


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
    for batch in encoded.batches(size):
        with reducing(model, operator, batch.layout) if operator else nullcontext():
            found.append(answered(model, batch))
        numbers.append(batch.index_b)
    return Evaluation(in_order(found, numbers).cpu().numpy(), tuple(encoded.skills))
