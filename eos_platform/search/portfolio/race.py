"""Successive halving of starts: a short search each, the better half goes on, the best of these is refined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from eos_platform.search.config import SearchConfig
from eos_platform.search.discretise import BudgetError
from eos_platform.search.parameters import Structure
from eos_platform.search.portfolio.judge import Judge
from eos_platform.search.run import SearchResult

FIRST, SECOND = 1 / 12, 1 / 8  # of the steps: of each racer at first, and of each of those left
RESUME = 0.1  # a search that goes on starts no softer than this: which tokens matter is known already


@dataclass(frozen=True)
class Racer:
    """A start, and where its parameters stand.

    Attributes:
        name: of the start.
        structure: what its gradients do not move.
        parameters: of its latest search.
        loss: of its operator as deployed.
    """

    name: str
    structure: Structure
    parameters: dict[str, Tensor] = field(default_factory=dict, repr=False)
    loss: float = float("inf")


class Race:
    """Of some starts."""

    def __init__(
        self,
        racers: Sequence[Racer],
        config: SearchConfig,
        search: Callable[[Racer, SearchConfig, str], SearchResult],
        judge: Judge,
    ) -> None:
        """``search``: a search from where a racer stands, its stage being told."""
        self.racers, self.config, self.search, self.judge = list(racers), config, search, judge
        self.told: list[dict[str, Any]] = []
        self.refused: list[BudgetError] = []

    @staticmethod
    def shares(config: SearchConfig) -> tuple[int, int]:
        """Steps of each racer in the two rounds."""
        return max(4, round(FIRST * config.steps)), max(4, round(SECOND * config.steps))

    def run(self) -> list[Racer]:
        """Those of the last round, each as far as it came, the best first.

        Raises:
            BudgetError: none of them meets the budget.
        """
        left = self.racers
        for number, steps in enumerate(self.shares(self.config)):
            racing = left[: max(1, len(left) // 2)] if number else left
            if len(racing) == 1:
                break
            config = self.config.model_copy(update={"steps": steps}) if number == 0 else resumed(self.config, steps)
            ran = [racer for one in racing if (racer := self._on(one, config, number))]
            if not ran:
                raise self.refused[0]
            left = sorted(ran, key=lambda racer: racer.loss)
        return left

    def _on(self, racer: Racer, config: SearchConfig, number: int) -> Racer | None:
        try:
            result = self.search(racer, config, f"round-{number + 1}")
        except BudgetError as error:  # of its sites; others may be cheaper
            self.refused.append(error)
            self.told.append({"round": number + 1, "start": racer.name, "refused": str(error)})
            return None
        verdict = self.judge.verdict(result.operator)
        self.told.append({"round": number + 1, "start": racer.name, "loss": verdict.loss, "accuracy": verdict.accuracy})
        return replace(racer, parameters=result.parameters, loss=verdict.loss)


def resumed(config: SearchConfig, steps: int) -> SearchConfig:
    """Settings of a search that goes on from parameters found before."""
    soft = max(config.temperature_end, min(config.temperature_start, RESUME))
    return config.model_copy(update={"steps": steps, "temperature_start": soft, "budget_warm_up": 1.0})
