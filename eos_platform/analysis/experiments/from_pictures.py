"""A task's questions asked from the pictures on: for operators that act or read in the vision tower.

``evaluate`` keeps a task's pictures encoded, as the plain vision tower has them; of what such operators need nothing is
left then. Here the model's own processor and ``generate`` see every picture anew; what the processor makes of them is
kept from one operator to the next.
"""

from __future__ import annotations

import zlib
from functools import partial
from typing import Any

import numpy as np

from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.answers.generate import answers
from eos_platform.tasks.base import Subject
from eos_platform.tasks.evaluate import Evaluation, evaluate
from eos_platform.tasks.on_task import OnTask
from eos_platform.tasks.scenes import Split

BATCH = 64


def evaluated(subject: Subject, operator: OperatorSpec | None, split: Split, questions: int) -> Evaluation:
    """``evaluate``, from the pictures on where that needs them."""
    if operator is None or not isinstance(subject, OnTask):
        return evaluate(subject, operator, split, questions)
    plan = OperatorPlan.of(operator)
    if not (plan.acts_in_tower or plan.tower_features):
        return evaluate(subject, operator, split, questions)
    given = tuple(subject.on.examples(split, questions))  # type: ignore[arg-type]
    processor = _KEPT.setdefault(id(subject), _Kept(subject.processor))
    scores = [
        subject.on.score(text, example)
        for batch in answers(subject.model, processor, given, operator, batch=BATCH)
        for example, text in batch
    ]
    skills = tuple(example.group for example in given)
    return Evaluation(np.asarray(scores, dtype=float), skills, partial(subject.subsets, split, questions))


class _Kept:
    """A processor that makes the same of the same prompts without looking again."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._made: dict[tuple[Any, ...], Any] = {}

    def __call__(self, *, text: list[str], images: list[Any], **options: Any) -> Any:
        pictures = [one for held in images for one in (held if isinstance(held, list) else [held])]
        key = (*text, *(zlib.crc32(np.asarray(picture).tobytes()) for picture in pictures))
        if key not in self._made:
            self._made[key] = self._processor(text=text, images=images, **options)
        return self._made[key]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)


_KEPT: dict[int, _Kept] = {}
