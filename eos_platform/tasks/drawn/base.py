"""What the small drawn tasks share: a scene is drawn from its key alone, and answers follow from the scene alone."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any

from PIL import Image

from eos_platform.common.errors import EosError, unknown
from eos_platform.protocols import SPLITS, Example

TRAIN = "train"  # beside the splits of every task: what a model is trained on
SMALLEST, LARGEST = 64, 1024


class Drawn(ABC):
    """A task whose pictures have ``side`` pixels a side; every split draws from keys of its own."""

    name: str
    version = "1"
    groups: tuple[str, ...]
    exact = True

    def __init__(self, side: int = 0) -> None:
        """``side``: pixels; 0: as many as a model's pictures have, 336 until one is known.

        Raises:
            EosError: no such side.
        """
        if type(side) is not int or (side and not SMALLEST <= side <= LARGEST):
            raise EosError(f"task '{self.name}': side: {SMALLEST} to {LARGEST} pixels, not {side!r}")
        self._told = side > 0
        self.side = side or 336

    def suit(self, adapter: Any) -> None:
        """Draw pictures as large as a model sees them, unless a side was given."""
        own = getattr(adapter.model.config.vision_config, "image_size", None)
        if not self._told and isinstance(own, int):
            self.side = max(SMALLEST, own)

    def examples(self, split: str, count: int) -> Sequence[Example]:
        """The first ``count`` questions of a split (or of ``train``), one of each group a picture.

        Raises:
            EosError: no such split.
        """
        return self.pictures(split, 0, -(-count // len(self.groups)))[:count]

    def pictures(self, split: str, first: int, count: int) -> list[Example]:
        """All questions about ``count`` pictures of a split (or of ``train``), from number ``first`` on.

        Raises:
            EosError: no such split.
        """
        if split not in (*SPLITS, TRAIN):
            raise unknown("split", split, (*SPLITS, TRAIN))
        made: list[Example] = []
        for index in range(first, first + count):
            key = f"{self.name}-{split}-{index}"
            scene = self.scene(random.Random(key))
            image = partial(self.picture, key)
            made += [Example(image, text, answer, group, key) for group, text, answer in self.questions(scene, key)]
        return made

    def score(self, output: str, example: Example) -> float:
        """1 where the answer is right to the last letter."""
        return float(output.strip() == example.answer)

    def picture(self, key: str) -> Image.Image:
        """The picture of a key."""
        rng = random.Random(key)
        return self.drawn(self.scene(rng), rng)

    @abstractmethod
    def scene(self, rng: random.Random) -> Any:
        """What a picture shows."""

    @abstractmethod
    def drawn(self, scene: Any, rng: random.Random) -> Image.Image:
        """It, drawn; ``rng`` goes on from where the scene left it."""

    @abstractmethod
    def questions(self, scene: Any, key: str) -> list[tuple[str, str, str]]:
        """(group, question, answer), one of each group, from the scene alone."""
