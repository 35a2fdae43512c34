"""What a step takes as a search goes on: fewer tokens compete once its budget has warmed up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eos_platform.common.sizes import shown_seconds
from eos_platform.search.config import SearchConfig
from eos_platform.search.deployed import Deployed
from eos_platform.search.schedule import Schedule

LOOK = 20  # steps between two looks at how many tokens compete


@dataclass(frozen=True)
class Pace:
    """Seconds of a step, on the straight line through two numbers of candidates at which it was rehearsed.

    Attributes:
        most, least: (candidates, seconds).
    """

    most: tuple[int, float]
    least: tuple[int, float]

    def seconds(self, candidates: float) -> float:
        """With so many tokens that compete."""
        (many, slow), (few, fast) = self.most, self.least
        if many == few:
            return slow
        return max(0.0, fast + (slow - fast) * (candidates - few) / (many - few))

    def mean(self, competing: Sequence[int]) -> float:
        """Over steps with so many each."""
        return sum(map(self.seconds, competing)) / len(competing)


def competing(deployed: Deployed, schedule: Schedule, config: SearchConfig) -> list[int]:
    """How many tokens compete at each step of a whole search, as its parameters are now."""
    found: list[int] = []
    for step in range(config.steps):
        if step % LOOK == 0 or step == schedule.soft_steps:
            candidates = deployed.candidates(schedule.budget(step))
        found.append(candidates)
    return found


class Clock:
    """Corrects the estimate once the first steps have been taken.

    Args:
        said: seconds of each step of the whole search, as far as is known; their proportions count.
        tell: is told, in a line.
    """

    AFTER = 6  # steps, the first of which is left out: kernels are compiled in it

    def __init__(self, said: Sequence[float], tell: Callable[[str], None]) -> None:
        self.said, self.tell = said, tell
        self.times: list[float] = []

    def tick(self, now: float, step: int) -> None:
        """A step has ended; ``step`` have by now."""
        if len(self.times) > self.AFTER:
            return
        self.times.append(now)
        if len(self.times) == self.AFTER + 1:
            each = (self.times[-1] - self.times[0]) / self.AFTER
            expected = sum(self.said[step - self.AFTER : step]) / self.AFTER
            left = each * sum(self.said[step:]) / expected if expected else each * (len(self.said) - step)
            self.tell(f"corrected: {shown_seconds(each)} per step as measured, {shown_seconds(left)} of steps left")
