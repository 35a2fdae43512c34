"""What changes from step to step of a search: learning rate, temperature, and the budget it still allows itself."""

from __future__ import annotations

import math

from eos_platform.search.config import SearchConfig

WARM_UP = 10  # steps until the learning rate is full
LEAST_RATE = 0.1  # of it, at the end
# budgets in between, as shares of the unreduced cost: below, steps at the budget itself are worth more; above, all is
# easy
EASED = (0.1, 0.25)
EASIEST = 0.375  # of the unreduced cost: no such search begins above
COMING_DOWN = 0.5  # share of the soft stage


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
        """Cost to meet: geometric from an easier one to the budget, which the second half of the soft stage
        keeps to.

        With more tokens a search learns what to look for before it has to choose; only an exact rule follows.
        """
        budget = self.config.budget
        start = min(EASIEST * self.whole, self.config.ease * budget)
        if self.config.budget_rule != "exact" or not EASED[0] <= budget / self.whole <= EASED[1] or start <= budget:
            return budget
        steps = COMING_DOWN * self.soft_steps
        left = 1 - min(1.0, step / steps) if steps >= 1 else 0.0
        return budget * (start / budget) ** left
