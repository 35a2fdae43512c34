"""The questions that need fine detail: answered right as they are, wrong once the picture is shrunk to a quarter.

Plain downsampling fails on them by definition, so an operator that merely keeps a coarse picture fails there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eos_platform.common.errors import EosError


@dataclass(frozen=True)
class Sensitive:
    """Which of the questions make up the subset, and how many of each skill and difficulty."""

    index: np.ndarray  # question numbers
    of: int  # questions in all
    skills: dict[str, int]
    difficulties: dict[int, int]

    @property
    def share(self) -> float:
        """Of all questions."""
        return len(self.index) / self.of if self.of else 0.0

    def accuracy(self, correct: np.ndarray) -> float:
        """Of another run over the same questions, on the subset alone."""
        return float(np.asarray(correct, bool)[self.index].mean()) if len(self.index) else float("nan")


def sensitive(whole: np.ndarray, quarter: np.ndarray, skills: Sequence[str], difficulties: Sequence[int]) -> Sensitive:
    """The subset, from one model's answers.

    Args:
        whole: (questions,) bool, right on the pictures as they are.
        quarter: the same on pictures of a quarter of the pixels (``render.quartered``).
        skills: of each question.
        difficulties: of each question.

    Raises:
        EosError: the four are not of one length.
    """
    lengths = {len(whole), len(quarter), len(skills), len(difficulties)}
    if len(lengths) != 1:
        raise EosError(f"answers, skills and difficulties of one set of questions differ in length: {sorted(lengths)}")
    index = np.flatnonzero(np.asarray(whole, bool) & ~np.asarray(quarter, bool))
    kinds, counts = np.unique(np.asarray(skills)[index], return_counts=True)
    grades, many = np.unique(np.asarray(difficulties)[index], return_counts=True)
    return Sensitive(
        index,
        len(whole),
        {str(kind): int(count) for kind, count in zip(kinds, counts, strict=True)},
        {int(grade): int(count) for grade, count in zip(grades, many, strict=True)},
    )
