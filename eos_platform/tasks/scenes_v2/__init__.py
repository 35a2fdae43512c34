"""Version 2 of the drawn task: objects, documents, tables and charts, in pictures of any size and shape.

Everything follows from (split, index, size): the same three give the same picture and questions on every machine.

Example:
    >>> from eos_platform.tasks import scenes_v2
    >>> for example in scenes_v2.examples("heldout", 100, size=336):
    ...     picture = scenes_v2.picture("heldout", example.picture, size=336)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eos_platform.tasks.scenes_v2.draws import Draws
from eos_platform.tasks.scenes_v2.layout import SPLITS, VERSION, Size, Split, make_scene, size_of
from eos_platform.tasks.scenes_v2.questions import GROUP_OF, GROUPS, SKILLS, Question, ask
from eos_platform.tasks.scenes_v2.render import render
from eos_platform.tasks.scenes_v2.scene import Scene
from eos_platform.tasks.scenes_v2.solver import solve


@dataclass(frozen=True)
class Example:
    """One question of the task. ``picture`` is the picture's index, ``places`` are pixels the question is about."""

    picture: int
    question: str
    answer: str
    skill: str
    group: str
    difficulty: int
    places: tuple[tuple[int, int], ...]


def questions_of(split: Split, index: int, size: Size = 336) -> list[Question]:
    """The questions asked about one picture; the same every time."""
    scene = make_scene(split, index, size)
    return ask(scene, Draws(VERSION, SPLITS.index(split), index, scene.width, scene.height, 1))


def examples(split: Split, n: int, size: Size = 336) -> list[Example]:
    """The first ``n`` questions of a split, picture by picture.

    Raises:
        EosError: unknown split, or a size there are no pictures of.
    """
    made: list[Example] = []
    index = 0
    while len(made) < n:
        for q in questions_of(split, index, size)[: n - len(made)]:
            made.append(Example(index, q.text, q.answer, q.skill, GROUP_OF[q.skill], q.difficulty, q.places))
        index += 1
    return made


def picture(split: Split, index: int, size: Size = 336) -> np.ndarray:
    """Picture ``index`` of a split, (height, width, 3) uint8."""
    return render(make_scene(split, index, size))


__all__ = [
    "GROUPS",
    "GROUP_OF",
    "SKILLS",
    "SPLITS",
    "Example",
    "Question",
    "Scene",
    "Size",
    "examples",
    "make_scene",
    "picture",
    "questions_of",
    "render",
    "size_of",
    "solve",
]
