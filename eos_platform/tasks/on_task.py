"""Any family of models on any task: the task's examples, as the model's own processor and chat template put them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from eos_platform.common.boundary import reading
from eos_platform.common.errors import EosError, shown, unknown
from eos_platform.protocols import Example, Task
from eos_platform.tasks.answers.own_answers import answer_themselves
from eos_platform.tasks.detail import DETAIL, needs_detail, whole_and_quarter, with_less
from eos_platform.tasks.examples import EncodedExamples, Examples, Judge
from eos_platform.tasks.prompting.encoder import Encoder
from eos_platform.tasks.scenes import SPLITS, Split


class OnTask(Examples):
    """A frozen model on a task.

    Attributes:
        on: the task.
    """

    def __init__(self, model: Any, processor: Any, task: Task, *, name: str = "", source: str = "") -> None:
        """The model is frozen.

        Args:
            model: of any family that can be relaxed.
            processor: its own.
            task: what it is asked.
            name: of the model.
            source: the task as it was chosen, in a line (``choice.text_of``).

        Raises:
            EosError: a model no search can run on.
        """
        self.on, self._source = task, source or task.name
        self.films = bool(getattr(task, "films", False))
        self._distils = bool(getattr(task, "distils", False))
        exact = bool(getattr(task, "exact", False)) or self._distils
        self._judge: Judge | None = None if exact else self._score
        self._both: dict[tuple[Split, int], tuple[np.ndarray, np.ndarray]] = {}
        named = task.name if task.name == "scenes" else f"{task.name} {task.version}"
        self._begin(model, processor, name, named)

    @property
    def skills(self) -> tuple[str, ...]:
        """The task's groups."""
        return self.on.groups

    @property
    def source(self) -> str:
        """The task as it was chosen."""
        return self._source

    def encoded(self, split: Split, questions: int) -> EncodedExamples:
        """The first ``questions`` of a split, or all there are; without answers, with the unreduced model's own.

        Raises:
            EosError: there are none.
        """
        known = set(map(id, self._encoded.values()))
        result = super().encoded(split, questions)
        if self._distils and id(result) not in known:
            most = getattr(self.on, "max_tokens", 0)
            answer_themselves(result, most, result.content)
            result.content = result.content and f"{result.content} by itself, {most}"
        return result

    def subsets(self, split: Split, questions: int) -> Mapping[str, np.ndarray]:
        """Those that the examples name, in the task's order, and ``detail`` where the task has it."""
        given = self._first(split, questions)
        names = [name for name in self.on.groups if any(name in one.subsets for one in given)]
        subsets = {name: np.array([name in one.subsets for one in given]) for name in names}
        if getattr(self.on, DETAIL, False):
            subsets[DETAIL] = needs_detail(*self.whole_and_quarter(split, questions))
        return subsets

    def whole_and_quarter(self, split: Split, questions: int) -> tuple[np.ndarray, np.ndarray]:
        """What the unreduced model's answers are worth: on the pictures, and on a quarter of their pixels."""
        encoded = self.encoded(split, questions)
        key = split, len(encoded)
        if key not in self._both:
            self._both[key] = whole_and_quarter(encoded, partial(self._with_less, split, questions))
        return self._both[key]

    def _with_less(self, split: Split, questions: int) -> EncodedExamples:
        given = [with_less(one) for one in self._first(split, questions)]
        encoder, tokenizer = Encoder(self.model), getattr(self.processor, "tokenizer", None)
        return EncodedExamples(self.model, self._prompts(given, encoder), self._judge, tokenizer, encoder)

    def _first(self, split: Split, questions: int) -> Sequence[Example]:
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        what = f"task '{self.on.name}'"
        with reading(what):  # it may be another package's
            examples = tuple(self.on.examples(split, questions))  # type: ignore[arg-type]
        if not examples:
            raise EosError(f"{what}: there are no examples of the split '{split}'")
        for example in examples:
            if not isinstance(example, Example):
                raise EosError(f"{what}: an Example is expected, not {shown(example)}")
            if example.group not in self.on.groups:
                raise EosError(f"{what}: an example is of {unknown('group', example.group, self.on.groups)}")
        return examples

    def _score(self, output: str, example: Example) -> float:
        """What the task gives for an answer.

        Raises:
            EosError: its code fails, or gives no share of 1.
        """
        with reading(f"task '{self.on.name}': its score"):
            worth = float(self.on.score(output, example))
        if not (math.isfinite(worth) and 0.0 <= worth <= 1.0):
            raise EosError(f"task '{self.on.name}': its score of {shown(output)} is {worth}, not from 0 to 1")
        return worth
