"""Which prompts a calibration looks at: of many pictures, and judged on others than it is made of.

Questions of a split come picture by picture: the first hundreds would be of a few dozen pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import EncodedQuestions

POOL = 2048  # first questions of the search split, among which prompts are drawn
MADE_OF, CHOSEN_BY = 512, 256  # prompts that directions are made of, and that settings are chosen by
RESERVED = 3  # one in so many pictures is for the choice


@dataclass(frozen=True)
class Prompts:
    """Some prompts of the search split.

    Attributes:
        encoded: the pool; labels in it are not looked at.
        made_of: numbers of those that directions are made of.
        chosen_by: of those that settings are chosen by, of other pictures if there are several.
    """

    encoded: EncodedQuestions
    made_of: frozenset[int]
    chosen_by: frozenset[int]

    @classmethod
    def of(cls, subject: Subject) -> Prompts:
        """Drawn alike every time."""
        encoded = subject.few("search", POOL)
        about_q, rng = np.asarray(encoded.about), np.random.default_rng(0)
        pictures = rng.permutation(np.unique(about_q))
        reserved = pictures[: max(1, len(pictures) // RESERVED)]
        number_q = rng.permutation(len(about_q))
        for_choice_q = np.isin(about_q[number_q], reserved)
        chosen_by = number_q[for_choice_q][:CHOSEN_BY]
        made_of = number_q[~for_choice_q][:MADE_OF] if len(pictures) > 1 else chosen_by
        return cls(encoded, frozenset(made_of.tolist()), frozenset(chosen_by.tolist()))

    def portions(self, numbers: frozenset[int], size: int) -> Iterator[Tensor]:
        """Prompts of these numbers, alike in their pictures' sizes."""
        for index_b in self.encoded.portions(len(self.encoded)):
            chosen = [number for number in index_b.tolist() if number in numbers]
            for start in range(0, len(chosen), size):
                yield torch.tensor(chosen[start : start + size], device=index_b.device)
