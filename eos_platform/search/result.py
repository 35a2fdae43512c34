"""What a search found, and how one fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.costs.registry import COMPUTE
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.spent import Spent


@dataclass(frozen=True)
class SearchResult:
    """What a search found. Accuracies are on validation questions; only ``relaxed_accuracy`` is not deployed."""

    operator: OperatorSpec
    accuracy: float
    relaxed_accuracy: float
    compute_ratio: float
    mean_tokens: float
    samples: int  # questions seen, with repetition
    seconds: float
    history: list[dict[str, float]] = field(default_factory=list, repr=False)
    cost: Spent | None = None  # that the budget is about
    trail: dict[str, Any] = field(default_factory=dict, repr=False)  # of a portfolio: what was tried, what came of it
    remarks: tuple[str, ...] = ()  # what a person should know, a line each
    parameters: dict[str, Tensor] = field(default_factory=dict, repr=False, compare=False)  # to start another from
    places: dict[str, float] = field(default_factory=dict)  # of a generalist: the accuracy in each place
    estimate: Any = field(default=None, repr=False, compare=False)  # a ``scale.fitting.Estimate``

    def paid(self) -> str:
        """The compute ratio in words, and before it the cost that the budget is about where that is another."""
        ratio = f"compute ratio {self.compute_ratio:.3f}"
        if self.cost is None:
            return ratio
        return str(self.cost) if self.cost.name == COMPUTE else f"{self.cost}, {ratio}"


class SearchDiverged(EosError):
    """The loss is no longer a number."""
