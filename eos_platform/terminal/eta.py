"""How long a study still takes: from the pace of its searches, and with the comparison at its end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

LOOKED_AT = 0.1  # share of a search's steps after which its pace is believed
STEP = 3.0  # evaluations that a step is worth a question: forward with every token, and backward
ASKED = 2.0  # times a search asks its validation questions at its end: deployed, and relaxed


class Work(NamedTuple):
    """What is asked beside the steps.

    Attributes:
        batch: questions a step.
        validation: questions a search asks at its end.
        operators: of the final comparison.
        questions: that each of them is asked.
    """

    batch: int
    validation: int
    operators: int
    questions: int


@dataclass
class _Running:
    begun: float
    first: tuple[int, float] | None = None  # step and time of the first report: what comes before is no pace
    last: tuple[int, float] | None = None
    steps: int = 0


class Eta:
    """Seconds that remain.

    Args:
        left: searches still to do.
        concurrent: at a time.
        work: what is asked beside the steps; None: not counted.
        clock: seconds.
    """

    def __init__(
        self, left: int, concurrent: int, work: Work | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.left, self.concurrent, self.work, self.clock = left, max(1, concurrent), work, clock
        self.running: dict[int, _Running] = {}
        self.took: deque[float] = deque(maxlen=2 * self.concurrent)  # the latest: the first ones loaded the model
        self.per_question: float | None = None

    def started(self, number: int) -> None:
        """A search began, or began again."""
        self.running[number] = _Running(self.clock())

    def step(self, number: int, step: int, steps: int) -> None:
        """It reported."""
        result = self.running.setdefault(number, _Running(self.clock()))
        result.last, result.steps = (step, self.clock()), steps
        result.first = result.first or result.last

    def ended(self, number: int, *, counts: bool = True, whole: bool = True) -> None:
        """It ended.

        Args:
            counts: it need not be done again.
            whole: it ran to its last step, so that it says how long others take.
        """
        result, now = self.running.pop(number, None), self.clock()
        self.left -= counts
        if result is None or not whole:
            return
        self.took.append(now - result.begun)
        if self.work and result.last and result.last[0] == result.steps:
            self.per_question = (now - result.last[1]) / (ASKED * self.work.validation)

    def seconds(self) -> float | None:
        """Until the study's end; None: nothing to go by yet."""
        if self.left <= 0:
            return self._comparison()
        one = self._one()
        if one is None:
            return None
        now = self.clock()
        under_way = [max(0.0, one - (now - result.begun)) for result in self.running.values()]
        waiting = max(0, self.left - len(under_way)) * one
        searches = max([(waiting + sum(under_way)) / self.concurrent, *under_way])
        return searches + self._comparison()

    def _one(self) -> float | None:
        """Seconds a search takes."""
        if self.took:
            return sum(self.took) / len(self.took)
        result = [one for one in map(self._from_steps, self.running.values()) if one is not None]
        return sum(result) / len(result) if result else None

    def _from_steps(self, result: _Running) -> float | None:
        if not (result.first and result.last) or result.last[0] - result.first[0] < LOOKED_AT * result.steps:
            return None
        per_step = (result.last[1] - result.first[1]) / (result.last[0] - result.first[0])
        before = max(0.0, result.first[1] - result.begun - result.first[0] * per_step)
        after = 0.0
        if self.work:
            self.per_question = per_step / (STEP * self.work.batch)
            after = ASKED * self.work.validation * self.per_question
        return before + result.steps * per_step + after

    def _comparison(self) -> float:
        if not self.work or self.per_question is None:
            return 0.0
        return self.work.operators * self.work.questions * self.per_question / self.concurrent


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
