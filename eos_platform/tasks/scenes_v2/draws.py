"""Random choices that are the same on every machine and in every version: built on ``random.random()`` alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """A stream of choices from a seed."""

    def __init__(self, *seed: int) -> None:
        number = 0
        for part in seed:
            number = number * 4_294_967_291 + part + 1
        self.random = random.Random(number).random

    def below(self, n: int) -> int:
        """0 to n - 1."""
        return int(self.random() * n)

    def between(self, low: int, high: int) -> int:
        """``low`` to ``high``, both included."""
        return low + int(self.random() * (high - low + 1))

    def chance(self, share: float) -> bool:
        """True in that share of all cases."""
        return self.random() < share

    def pick(self, options: Sequence[T]) -> T:
        """One of them."""
        return options[int(self.random() * len(options))]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """All of them in random order."""
        shuffled = list(options)
        for last in range(len(shuffled) - 1, 0, -1):
            other = int(self.random() * (last + 1))
            shuffled[last], shuffled[other] = shuffled[other], shuffled[last]
        return shuffled

    def sample(self, options: Sequence[T], n: int) -> list[T]:
        """``n`` different ones."""
        if 3 * n > len(options):
            return self.shuffled(options)[:n]
        places: dict[int, None] = {}
        while len(places) < n:
            places[int(self.random() * len(options))] = None
        return [options[place] for place in places]
