"""The cost that a search's budget is about: of soft counts, of whole ones, and as deployed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError, brief
from eos_platform.costs.amount import Source, amount
from eos_platform.costs.device.known import predictor_of
from eos_platform.costs.device.predictor import Predictor
from eos_platform.costs.fit import Fit, fit
from eos_platform.costs.flops_ratio import FlopsRatio
from eos_platform.costs.quantity import shown_cost, shown_quantity
from eos_platform.costs.registry import COMPUTE, COSTS, measure
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import Cost, CostContext
from eos_platform.search.config import SearchConfig
from eos_platform.search.discretise import costliest, to_operator
from eos_platform.search.parameters import Parameters
from eos_platform.search.solve import bisection, parabola
from eos_platform.tasks.base import Subject
from eos_platform.tasks.typical import cost_context

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
    def remark(self) -> str:
        """In words, that the measured cost misses the budget by more than a few per cent; empty: it does not."""
        miss = self.value / self.budget - 1
        if self.predicted is None or self.device or abs(miss) <= MISSED:
            return ""
        side = "above" if miss > 0 else "below"
        cost = COSTS.get_named(self.name)
        budget, predicted = shown_quantity(self.budget, cost), shown_quantity(self.predicted, cost)
        return (
            f"{shown_cost(self.value, cost)} as measured is {abs(miss):.0%} {side} the budget of {budget}; "
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


class SearchCost:
    """One cost of one model on one task; where it has no relaxed form, with its fit."""

    def __init__(self, cost: Cost, context: CostContext, fitted: Fit | Predictor | None = None) -> None:
        self.cost, self.context, self.fitted = cost, context, fitted
        self._solve = parabola if isinstance(cost, FlopsRatio) else bisection

    @property
    def whole(self) -> float:
        """The cost of the unreduced model."""
        if self.cost.relative:
            return 1.0
        return self.fitted.unreduced if self.fitted else measure(self.cost, self.context, None)

    def relaxed(self, sites: Sequence[RelaxedSite]) -> Tensor:
        """The cost of relaxed sites, differentiable in their counts."""
        counts = [site.count for site in sites]
        if self.fitted is not None:
            return self.fitted.relaxed(sites, counts)
        cost = self.cost.relaxed(self.context, sites, counts)
        assert cost is not None  # or it would have been fitted
        return cost

    def deployed(self, operator: OperatorSpec) -> float:
        """The cost that whole counts are chosen by: exact, or as the fit predicts."""
        return self.fitted.predict(operator) if self.fitted else measure(self.cost, self.context, operator)

    def counts(self, parameters: Parameters, budget: float | Tensor) -> Tensor:
        """The soft counts (sites,), under an exact rule those that meet ``budget``."""
        return parameters.counts(lambda tried: self.relaxed(parameters.sites(tried)), budget, self._solve)

    def spent(self, operator: OperatorSpec, budget: float) -> Spent:
        """What the deployed operator costs; where the cost is fitted, measured anew, or predicted for a device that is
        not here."""
        spent = amount(self.cost, self.context, operator)
        predicted = self.fitted.predict(operator) if self.fitted else None
        return Spent(self.cost.name, self.cost.unit, budget, spent.value, predicted, spent.device)


def flops_cost(subject: Subject) -> SearchCost:
    """The compute ratio."""
    return SearchCost(COSTS[COMPUTE], cost_context(subject))


def search_cost(subject: Subject, config: SearchConfig, fitted: Fit | Predictor | None = None) -> SearchCost:
    """The cost that ``config`` names; one without a relaxed form is predicted from the device profile that is named, or
    measured a few times and fitted.

    Args:
        fitted: an earlier search's fit on the same model and machine, to be used instead.

    Raises:
        EosError: no such cost, one that cannot be measured here, or a profile that says nothing of it.
    """
    cost, context = COSTS.get_named(config.cost), cost_context(subject, setting=config.setting)
    if config.cost == COMPUTE:
        return SearchCost(cost, context)
    predictor = predictor_of(cost, context)
    if predictor is not None:
        return SearchCost(cost, context, predictor)
    parameters = costliest(Parameters(config, subject.target, subject.shape.hidden, subject.features))
    soft = parameters.sites(torch.full((len(parameters.layers),), 1.0))
    if _relaxes(cost, context, soft):
        return SearchCost(cost, context)

    def operator(counts: Sequence[int]) -> OperatorSpec:
        return to_operator(parameters, tuple(counts), subject.target, "fit")

    return SearchCost(cost, context, fitted or fit(cost, context, operator, parameters.layers))


def _relaxes(cost: Cost, context: CostContext, sites: Sequence[RelaxedSite]) -> bool:
    """Whether the cost has a relaxed form.

    Raises:
        EosError: it has one that is broken.
    """
    try:
        relaxed = cost.relaxed(context, sites, [site.count for site in sites])
    except Exception as error:
        if isinstance(error, EosError):
            raise
        raise EosError(f"cost '{cost.name}' fails: {type(error).__name__}: {brief(error_text(error), 200)}") from error
    if relaxed is None:
        return False
    if not isinstance(relaxed, Tensor) or relaxed.dim() or not bool(relaxed.isfinite()):
        raise EosError(f"cost '{cost.name}' is broken: its relaxed form is no finite scalar tensor")
    return True
