"""Deployed operators judged on validation questions that neither gradients nor the reported accuracy have seen.

Legend: b batch, a answer tokens, d width, v vocabulary, q questions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.runtime.attach import reducing
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import EncodedQuestions, answer_states, exact

AT_ONCE = 256  # questions in a batch on a GPU
POWER = 2.8  # standard errors: what a two-sided test at 5 % finds four times in five


@dataclass(frozen=True)
class Verdict:
    """What an operator's answers to some questions are worth.

    Attributes:
        loss_q: cross entropy of each right answer.
        right_q: whether it is given exactly.
    """

    loss_q: np.ndarray
    right_q: np.ndarray

    @property
    def loss(self) -> float:
        """The mean."""
        return float(self.loss_q.mean())

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.right_q.mean())

    @property
    def rank(self) -> tuple[float, float]:
        """More is better: accuracy, then loss."""
        return self.accuracy, -self.loss

    def of(self, part: slice) -> Verdict:
        """Of some of the questions."""
        return Verdict(self.loss_q[part], self.right_q[part])

    def surer(self, other: Verdict, errors: float = 1.0) -> bool:
        """Whether the loss is lower than another's on the same questions by so many standard errors."""
        gap = other.loss_q - self.loss_q
        return bool(gap.mean() > errors * gap.std() / math.sqrt(len(gap)))


def detectable(one: Verdict, other: Verdict) -> float:
    """How large a difference of accuracies these questions can show, four times in five, at 5 %."""
    gap = one.right_q.astype(float) - other.right_q.astype(float)
    return float(POWER * max(gap.std(), 1 / len(gap)) / math.sqrt(len(gap)))


class Judge:
    """Some validation questions, kept encoded."""

    def __init__(self, workload: Subject, skipped: int, questions: int) -> None:
        """The ``questions`` after the first ``skipped``, which accuracies are reported on; where there are not as many,
        the last ones there are."""
        self.workload = workload
        self.encoded: EncodedQuestions = workload.few("validation", skipped + questions)
        self.first = max(0, min(skipped, len(self.encoded) - questions))
        self.fresh = self.first >= skipped
        self.questions = len(self.encoded) - self.first
        self.known: dict[str, Verdict] = {}

    @torch.no_grad()
    def verdict(self, operator: OperatorSpec | None, questions: int | None = None) -> Verdict:
        """Of the first ``questions`` of them (default: all), as deployed.

        Raises:
            EosError: the operator cannot be at work on this model.
        """
        wanted = min(questions or self.questions, self.questions)
        key = (
            f"{'none' if operator is None else operator.model_copy(update={'provenance': {}, 'name': 'x'}).fingerprint}"
        )
        have = self.known.get(key)
        if have is None or len(have.loss_q) < wanted:
            have = self.known[key] = self._asked(operator, wanted)
        return have.of(slice(0, wanted))

    def _asked(self, operator: OperatorSpec | None, wanted: int) -> Verdict:
        model = self.workload.model
        encoded = self.encoded if operator is None else self.encoded.encoded_with(operator)
        last = self.first + wanted
        loss_q, right_q = np.zeros(wanted), np.zeros(wanted, dtype=bool)
        for index_b in self._batches(last):
            batch = encoded.batch(index_b)
            if operator is None:
                state_bad = answer_states(model, batch)
            else:
                with reducing(model, operator, batch.layout):
                    state_bad = answer_states(model, batch)
            logits_bav = adapter_of(model).logits(state_bad).float()
            loss_ba = F.cross_entropy(logits_bav.flatten(0, 1), batch.target_ba.flatten(), reduction="none")
            wanted_ba = batch.wanted_ba.float()
            loss_b = (loss_ba.view_as(wanted_ba) * wanted_ba).sum(1) / wanted_ba.sum(1)
            place = index_b.cpu().numpy() - self.first
            loss_q[place], right_q[place] = loss_b.cpu().numpy(), exact(logits_bav, batch).cpu().numpy()
        return Verdict(loss_q, right_q)

    def _batches(self, last: int) -> list[torch.Tensor]:
        """Numbers of the questions up to ``last``, alike in each batch."""
        device = self.workload.model.device
        size = AT_ONCE if device.type == "cuda" else 32
        groups = getattr(self.encoded, "groups", None)  # of pictures of one size
        members = [list(range(len(self.encoded)))] if groups is None else [list(one) for one in groups.values()]
        chosen = [[number for number in one if self.first <= number < last] for one in members]
        return [
            torch.tensor(one[start : start + size], device=device if groups is None else None)
            for one in chosen
            for start in range(0, len(one), size)
        ]
