"""Any family of models on any task: the task's examples, as the model's own processor and chat template put them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eos_platform.common.errors import unknown
from eos_platform.protocols import Example, Task
from eos_platform.tasks.examples import EncodedExamples, Examples, Judge
from eos_platform.tasks.own_answers import answer_themselves
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
        self._distils = bool(getattr(task, "distils", False))
        exact = bool(getattr(task, "exact", False)) or self._distils
        self._judge: Judge | None = None if exact else task.score
        told = task.name if task.name == "scenes" else f"{task.name} {task.version}"
        self._begin(model, processor, name, told)

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
        found = super().encoded(split, questions)
        if self._distils and id(found) not in known:
            answer_themselves(found, getattr(self.on, "max_tokens", 0))
        return found

    def _first(self, split: Split, questions: int) -> Sequence[Example]:
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        return self.on.examples(split, questions)  # type: ignore[arg-type]
