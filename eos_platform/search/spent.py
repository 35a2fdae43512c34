"""What a deployed operator costs beside the budget that its search was given, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass

from eos_platform.costs.amount import Source
from eos_platform.costs.quantity import shown_cost, shown_quantity
from eos_platform.costs.registry import COSTS

MISSED = 0.05  # a deployed operator that costs so much more or less than its budget is said to


@dataclass(frozen=True)
class Spent:
    """What a deployed operator costs, beside its budget.

    Attributes:
        name: of the cost.
        unit: empty for a ratio.
        budget: as the search was told.
        value: of the deployed operator: computed exactly, or measured.
        predicted: by the fit that whole counts were chosen by; None: the cost is exact, and was its own guide.
        device: that ``value`` is predicted for, from its profile; empty: it is not.
    """

    name: str
    unit: str
    budget: float
    value: float
    predicted: float | None = None
    device: str = ""

    @property
    def source(self) -> Source:
        """How ``value`` was found."""
        if self.device:
            return "predicted"
        return "computed" if self.predicted is None else "measured"

    @property
    def miss(self) -> float:
        """How far ``value`` is above the budget (or below, negative), relative to it."""
        return self.value / self.budget - 1

    @property
    def remark(self) -> str:
        """In words, that the measured cost misses the budget by more than a few per cent; empty: it does not."""
        if self.predicted is None or self.device or abs(self.miss) <= MISSED:
            return ""
        side = "above" if self.miss > 0 else "below"
        cost = COSTS.get_named(self.name)
        budget, predicted = shown_quantity(self.budget, cost), shown_quantity(self.predicted, cost)
        return (
            f"{shown_cost(self.value, cost)} as measured is {abs(self.miss):.0%} {side} the budget of {budget}; "
            f"the fit predicted {predicted}"
        )

    def __str__(self) -> str:
        cost = COSTS.get_named(self.name)
        budget = shown_quantity(self.budget, cost) if self.unit else f"{self.budget:g}"
        how = "" if self.predicted is None else f"measured, predicted {shown_quantity(self.predicted, cost)}; "
        how = f"predicted for {self.device}; " if self.device else how
        return f"{shown_cost(self.value, cost)} ({how}budget {budget})"

    def as_json(self) -> dict[str, str | float]:
        """For an operator's provenance."""
        data: dict[str, str | float] = {"name": self.name, "unit": self.unit, "budget": self.budget}
        data |= {"value": self.value, "source": self.source}
        if self.device:
            data["device"] = self.device
        return data if self.predicted is None else data | {"predicted": self.predicted}
