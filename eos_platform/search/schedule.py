"""What changes from step to step of a search: learning rate, temperature, and the budget while it warms up."""

from __future__ import annotations

import math

from eos_platform.search.config import SearchConfig

WARM_UP = 10  # steps until the learning rate is full
LEAST_RATE = 0.1  # of it, at the end
# budgets that are warmed up to, as shares of the unreduced cost: below, steps at the budget itself are worth more;
# above, there is no need
WARM_UP_BUDGETS = (0.1, 0.25)
WARM_UP_MOST = 0.375  # of the unreduced cost: where a warm-up starts at most
WARM_UP_SHARE = 0.5  # share of the soft stage


class Schedule:
    """Of one search; every value follows from the step alone, so that a search goes on as if never interrupted."""

    def __init__(self, config: SearchConfig, whole: float = 1.0) -> None:
        """``whole``: the cost of the unreduced model."""
        self.config, self.whole = config, whole
        self.soft_steps = config.steps - round(config.straight_through * config.steps)

    def rate(self, step: int) -> float:
        """Learning rate: warm-up over a few steps, then a cosine down to a tenth."""
        warm = min(1.0, (step + 1) / WARM_UP)
        done = math.cos(math.pi * step / self.config.steps)
        return self.config.learning_rate * warm * ((1 + LEAST_RATE) / 2 + (1 - LEAST_RATE) / 2 * done)

    def temperature(self, step: int) -> float:
        """Geometric from start to end over the soft stage."""
        done = min(1.0, step / max(1, self.soft_steps - 1))
        return self.config.temperature_start * (self.config.temperature_end / self.config.temperature_start) ** done

    def budget(self, step: int) -> float:
        """Cost to meet: geometric from a higher one to the budget, which is held in the second half of the soft
        stage.

        With more tokens a search learns what to look for before it has to choose; only an exact rule follows.
        """
        budget = self.config.budget
        start = min(WARM_UP_MOST * self.whole, self.config.budget_warm_up * budget)
        if (
            self.config.budget_rule != "exact"
            or not WARM_UP_BUDGETS[0] <= budget / self.whole <= WARM_UP_BUDGETS[1]
            or start <= budget
        ):
            return budget
        steps = WARM_UP_SHARE * self.soft_steps
        left = 1 - min(1.0, step / steps) if steps >= 1 else 0.0
        return budget * (start / budget) ** left
