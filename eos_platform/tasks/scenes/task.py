"""``scenes`` as examples, for models of any family: the pictures that are drawn, and what is asked about them."""

from __future__ import annotations

from functools import partial

from eos_platform.common.errors import unknown
from eos_platform.protocols import Example, Split
from eos_platform.tasks.scenes.encode import drawn, first_questions
from eos_platform.tasks.scenes.questions import SKILLS
from eos_platform.tasks.scenes.scene import CONFIGS, SCENE_VERSION, SPLITS, SceneConfig


class Scenes:
    """The built-in benchmark.

    Attributes:
        config: what the pictures hold.
    """

    name = "scenes"
    version = str(SCENE_VERSION)
    groups = tuple(SKILLS)
    exact = True
    config: SceneConfig = CONFIGS[24]

    def of_grid(self, side: int) -> Scenes:
        """The task with pictures for about ``side`` visual tokens a side."""
        self.config = CONFIGS[min(CONFIGS, key=lambda known: abs(known - side))]
        return self

    def examples(self, split: Split, count: int) -> list[Example]:
        """The first ``count`` questions of a split.

        Raises:
            EosError: unknown split.
        """
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        pictures, questions = first_questions(split, count, self.config)
        return [
            Example(partial(drawn, split, index, self.config), one.text, one.answer, one.skill, f"{split}-{index}")
            for index, one in zip(pictures, questions, strict=True)
        ]

    def score(self, output: str, example: Example) -> float:
        """1 where the answer is right to the last letter."""
        return float(output.strip() == example.answer)
