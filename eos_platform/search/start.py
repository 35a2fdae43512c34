"""Before the first step: what cannot be searched is refused, and the rest begins exactly at its budget."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.costs.flops import compute_ratio, soft_compute_ratio
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.search.config import SearchConfig
from eos_platform.search.discretise import costliest, impossible, to_operator
from eos_platform.search.parameters import STAY, Parameters, candidate_layers
from eos_platform.tasks.base import Subject


def check(workload: Subject, config: SearchConfig) -> None:
    """Refuse what cannot be searched, before anything is loaded or written.

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
    ratio = compute_ratio(least, workload.shape, workload.text_tokens)
    if ratio > config.budget:
        raise impossible(config.budget, ratio)


@torch.no_grad()
def take_over(parameters: Parameters, start: Mapping[str, Tensor]) -> None:
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
    counts = [site.count for site in sites]
    return soft_compute_ratio(sites, counts, workload.shape, workload.target.tokens, workload.text_tokens)


def counts_now(parameters: Parameters, workload: Subject, budget: float) -> Tensor:
    """The soft counts (sites,), under an exact rule those that meet ``budget``."""
    return parameters.counts(lambda tried: soft_ratio(parameters.sites(tried), workload), budget)


@torch.no_grad()
def start_at_budget(parameters: Parameters, workload: Subject, config: SearchConfig) -> None:
    """Begin where the budget is just met: the first site reduces most, the others by the same smaller share each.

    An exact rule is there anyway.
    """
    if config.budget_rule == "exact":
        return

    def ratio(logit: float) -> float:
        parameters.keep.fill_(logit / 2 + STAY)
        parameters.keep[0] = logit
        return float(soft_ratio(parameters.sites(counts_now(parameters, workload, config.budget)), workload))

    low, high = -12.0, 12.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if ratio(middle) <= config.budget else (low, middle)
    ratio(low)
