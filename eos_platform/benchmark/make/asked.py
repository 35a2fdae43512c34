"""The fixed held-out questions, made into batches once, and what operators answer to them.

In float32 on every device: answers are then the same on a GPU and a CPU but where rounding decides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eos_platform.benchmark.operators import Operators
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.batch import Batch, EncodedQuestions
from eos_platform.tasks.workload import load_workload

QUESTIONS, BLOCK = 1024, 512  # of all, and of what is asked and kept at once
SPLIT = "heldout"


class Asked:
    """A bundled model with its questions.

    Attributes:
        workload: model and task.
        operators: what its points stand for.
    """

    def __init__(self, model: str, device: str, questions: int = QUESTIONS, at_once: int | None = None) -> None:
        """
        Args:
            model: a bundled one.
            device: where it is asked.
            questions: the first so many of the held-out ones.
            at_once: questions in a batch; default by device.
        """
        self.workload: Any = load_workload(model, device=device, dtype="float32")
        self.operators = Operators.on(self.workload)
        self.questions = questions
        self.at_once = at_once or (BLOCK if device.startswith("cuda") else 64)
        self._encoded: EncodedQuestions | None = None
        self._batches: dict[int, list[Batch]] = {}
        self._read: frozenset[str] = frozenset()  # in the vision tower, by operators so far

    @property
    def encoded(self) -> EncodedQuestions:
        """All questions."""
        if self._encoded is None:
            self._encoded = self.workload.encoded(SPLIT, self.questions)
        return self._encoded

    def answers(self, operator: OperatorSpec | None, block: int) -> NDArray[np.bool_]:
        """Which questions of a block are answered rightly (questions,).

        Raises:
            EosError: the operator does not suit the model.
        """
        first = block * BLOCK
        right = np.zeros(min(BLOCK, self.questions - first), bool)
        with torch.no_grad():
            encoded = self._seen_with(operator)
            batches = self._batches.get(block) if encoded is self.encoded else None
            if batches is None:
                batches = [encoded.batch(index_b) for index_b in self._portions(encoded, first, len(right))]
                if encoded is self.encoded:
                    self._batches[block] = batches
            for batch in batches:
                right[batch.index_b.cpu().numpy() - first] = encoded.scores(batch, operator).cpu().numpy() == 1
        return right

    def _seen_with(self, operator: OperatorSpec | None) -> EncodedQuestions:
        """The questions as an operator has their pictures leave the vision tower."""
        if operator is None:
            return self.encoded
        names = OperatorPlan.of(operator).tower_features
        encoded = self.encoded.encoded_with(operator)
        if not names <= self._read:  # batches that are there lack what is read in the tower now
            self._read |= names
            self._batches.clear()
        return encoded

    def _portions(self, encoded: EncodedQuestions, first: int, count: int) -> list[torch.Tensor]:
        """Question numbers of a block, alike in their pictures' sizes."""
        portions = []
        for index_b in encoded.portions(self.questions):
            mine_b = index_b[(index_b >= first) & (index_b < first + count)]
            portions += [part_b for part_b in mine_b.split(self.at_once) if len(part_b)]
        return portions
