"""Before the first step: what cannot be searched is refused, and the rest begins exactly at its budget."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.costs.quantity import shown_quantity
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import SearchCost, flops_cost, search_cost
from eos_platform.search.discretise import costliest, impossible, to_operator
from eos_platform.search.parameters import STAY, Parameters, candidate_layers
from eos_platform.tasks.base import Subject

BEYOND = 0.25  # of the unreduced cost as measured


def check(workload: Subject, config: SearchConfig, cost: SearchCost | None = None) -> SearchCost:
    """Refuse what cannot be searched, before anything is written; the cost that the budget is about.

    Args:
        cost: already known, of an earlier check say.

    Raises:
        EosError: a site beyond the last layer, sites out of order, or a budget that nothing reaches.
    """
    target, last = workload.target, workload.target.layers - 1
    layers = candidate_layers(config, target)
    for layer in layers:
        if layer > last:
            raise EosError(f"layers: site {layer} is beyond the last decoder layer ({last}) of '{workload.name}'")
    if not layers or list(layers) != sorted(set(layers)):
        raise EosError(f"layers: {list(layers)} must be different and in ascending order, at least one")
    parameters = Parameters(config.model_copy(update={"layers": layers[:1]}), target, workload.shape.hidden)
    least = to_operator(costliest(parameters), (1,), target, "least")
    cost = cost or search_cost(workload, config)
    _refuse_beyond(config.budget, cost)
    takes = cost.deployed(least)
    if takes > config.budget:
        raise impossible(config.budget, takes, cost)
    return cost


def _refuse_beyond(budget: float, cost: SearchCost) -> None:
    """Refuse a budget that the unreduced model keeps to. A measured cost scatters, and may be exceeded by some."""
    whole = cost.whole * (1 + BEYOND if cost.fitted else 1)
    if not cost.cost.relative and budget > whole:
        shown = shown_quantity(budget, cost.cost), shown_quantity(cost.whole, cost.cost)
        raise EosError(f"budget {shown[0]} leaves nothing to reduce: the unreduced model takes {shown[1]}")


@torch.no_grad()
def load_parameters(parameters: Parameters, start: Mapping[str, Tensor]) -> None:
    """Begin from the parameters of another search.

    Raises:
        EosError: that one had other sites, another rank of steering, or another model.
    """
    for name, value in parameters.named_parameters():
        if name in start:
            if start[name].shape != value.shape:
                raise EosError(
                    "a search can start from another's parameters only with the same sites, steering and model"
                )
            value.copy_(start[name])


def soft_ratio(sites: list[RelaxedSite], workload: Subject) -> Tensor:
    """The sites' compute ratio, differentiable in their counts."""
    return flops_cost(workload).relaxed(sites)


def counts_now(parameters: Parameters, workload: Subject, budget: float) -> Tensor:
    """The soft counts (sites,), under an exact rule those whose compute ratio meets ``budget``."""
    return parameters.counts(flops_cost(workload).scale, budget)


@torch.no_grad()
def start_at_budget(
    parameters: Parameters, workload: Subject, config: SearchConfig, cost: SearchCost | None = None
) -> None:
    """Begin where the budget is just met: the first site reduces most, the others by the same smaller share each.

    An exact rule is there anyway.
    """
    if config.budget_rule == "exact":
        return
    spent = cost or flops_cost(workload)

    def ratio(logit: float) -> float:
        parameters.keep.fill_(logit / 2 + STAY)
        parameters.keep[0] = logit
        return float(spent.relaxed(parameters.sites(parameters.counts(spent.scale, config.budget))))

    low, high = -12.0, 12.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if ratio(middle) <= config.budget else (low, middle)
    ratio(low)
