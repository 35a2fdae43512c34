"""The cost that a search's budget is about: of soft counts, of whole ones, as deployed; the counts that meet it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError, brief
from eos_platform.costs.amount import amount
from eos_platform.costs.device.known import predictor_of
from eos_platform.costs.device.predictor import Predictor
from eos_platform.costs.fit import Fit, fit
from eos_platform.costs.flops import FlopsRatio
from eos_platform.costs.registry import COMPUTE, COSTS, measure
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import Cost, CostContext
from eos_platform.search.config import SearchConfig
from eos_platform.search.discretise import costliest, to_operator
from eos_platform.search.parameters import Parameters
from eos_platform.search.spent import Spent
from eos_platform.tasks.base import Subject
from eos_platform.tasks.typical import cost_context

AT = (0.02, 0.3, 0.9)  # shares of all tokens through which the parabola goes
STEPS = 40  # of a bisection: far finer than float32 tells apart
FLAT = 1e-12  # a slope below this gives no gradient


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

    def relaxed(self, sites: Sequence[RelaxedSite], counts: Sequence[Tensor] | None = None) -> Tensor:
        """The cost of relaxed sites, differentiable in ``counts``; default: their own."""
        counts = [site.count for site in sites] if counts is None else counts
        if self.fitted is not None:
            return self.fitted.relaxed(sites, counts)
        cost = self.cost.relaxed(self.context, sites, counts)
        assert cost is not None  # or it would have been fitted
        return cost

    def deployed(self, operator: OperatorSpec) -> float:
        """The cost that whole counts are chosen by: exact, or as the fit predicts."""
        return self.fitted.predict(operator) if self.fitted else measure(self.cost, self.context, operator)

    def scale(self, sites: Sequence[RelaxedSite], shares: Tensor, budget: float | Tensor, tokens: int) -> Tensor:
        """By what ``shares``, the counts of the last sites, are multiplied where all sites cost ``budget``.

        Args:
            sites: those of a head, whose counts stay, and one for each share.
            shares: (candidate sites,).
            budget: to be met.
            tokens: that arrive at the first of the last sites; the scale lies between 1 and one less.
        """
        head = [site.count for site in sites[: len(sites) - len(shares)]]

        def cost(tried: Tensor) -> Tensor:
            return self.relaxed(sites, [*head, *(tried[number] for number in range(len(tried)))])

        return self._solve(cost, shares, budget, tokens)

    def spent(self, operator: OperatorSpec, budget: float, times: int = 1) -> Spent:
        """What the deployed operator costs; where the cost is fitted, measured anew, or predicted for a device that is
        not here.

        Args:
            times: that it is measured, where it is; the median counts.
        """
        spent = amount(self.cost, self.context, operator)
        if spent.source == "measured" and times > 1:
            more = [amount(self.cost, self.context, operator).value for _ in range(times - 1)]
            spent = replace(spent, value=statistics.median([spent.value, *more]))
        predicted = self.fitted.predict(operator) if self.fitted else None
        return Spent(self.cost.name, self.cost.unit, budget, spent.value, predicted, spent.device)


def parabola(cost: Callable[[Tensor], Tensor], shares: Tensor, budget: float | Tensor, tokens: int) -> Tensor:
    """For a cost that is close to a parabola in the scale, as FLOPs are: three values of it, and the root.

    Args:
        cost: of counts (sites,).
        shares: counts over the scale (sites,).
        budget: to be met.
        tokens: that arrive; the scale lies between 1 and one less.
    """
    at = [tokens * part for part in AT]
    low, middle, high = (cost(scale * shares) for scale in at)
    steep = (middle - low) / (at[1] - at[0])
    curve = ((high - low) / (at[2] - at[0]) - steep) / (at[2] - at[1])
    slope = steep - curve * (at[0] + at[1])
    rest = low - slope * at[0] - curve * at[0] ** 2 - budget
    # the form of the root that stays exact when there is no curve
    root = (slope.square() - 4 * curve * rest).clamp_min(1e-12).sqrt()
    return (-2 * rest / (slope + root)).clamp(1.0, tokens - 1.0)


def bisection(cost: Callable[[Tensor], Tensor], shares: Tensor, budget: float | Tensor, tokens: int) -> Tensor:
    """For any cost that falls nowhere as counts rise: halving, then the gradient of the implicit function.

    At the solution cost(scale, shares) = budget, so that d scale = (d budget - d cost at this scale) / (d cost / d
    scale). A budget that no scale meets gives the nearest bound, and no gradient.

    Args:
        cost: of counts (sites,), at least one token each.
        shares: counts over the scale (sites,).
        budget: to be met.
        tokens: that arrive; the scale lies between 1 and one less.
    """
    wanted = torch.as_tensor(budget, dtype=shares.dtype, device=shares.device)
    with torch.no_grad():
        low, high = torch.full_like(wanted, 1.0), torch.full_like(wanted, tokens - 1.0)
        inside = (cost((low * shares).clamp_min(1.0)) < wanted) & (wanted < cost((high * shares).clamp_min(1.0)))
        for _ in range(STEPS):  # a fixed number, and no question to the device: the step can be captured
            middle = (low + high) / 2
            below = cost((middle * shares).clamp_min(1.0)) <= wanted
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        scale = low
    if not torch.is_grad_enabled():
        return scale
    moved = scale.clone().requires_grad_()
    (slope,) = torch.autograd.grad(cost((moved * shares.detach()).clamp_min(1.0)), moved)
    reached = cost((scale * shares).clamp_min(1.0))
    change = (wanted - wanted.detach() - (reached - reached.detach())) / slope.clamp_min(FLAT)
    return scale + torch.where(inside & (slope > FLAT), change, 0.0)


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
