"""A search that starts from a found operator: the operator's sites as the parameters a search turns.

What deploying rounded off is gone, so this is near the operator, not exactly it. Runs in workers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eos_platform.costs.amount import amount
from eos_platform.costs.registry import COSTS
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target, Transfer
from eos_platform.search.config import SearchConfig
from eos_platform.search.parameters import RHO_MOST, SPREAD_MOST, TAU_RANGE, WEIGHTS, Parameters
from eos_platform.tasks.typical import cost_context

EDGE = 0.01  # shares start no nearer to 0 or 1: from there a gradient moves nothing


def nearest(starts: Sequence[str], config: SearchConfig, workload: Any) -> dict[str, Tensor] | None:
    """Parameters to start from: of the operator whose compute is nearest to the budget, among those that can be.

    Args:
        starts: operator files' text.
    """
    best: tuple[float, dict[str, Tensor]] | None = None
    operators = [OperatorSpec.from_json(text, "warm_start") for text in starts]
    mean_question = None
    if any(site.steering for operator in operators for site in operator.sites):
        mean_question = workload.encoded("search", config.search_questions).mean_question().cpu()
    for operator in operators:
        parameters = parameters_of(operator, config, workload.target, workload.shape.hidden, mean_question)
        if parameters is None:
            continue
        distance = abs(math.log(_spent(operator, config, workload) / config.budget))
        if best is None or distance < best[0]:
            best = (distance, parameters)
    return best[1] if best else None


def _spent(operator: OperatorSpec, config: SearchConfig, workload: Any) -> float:
    """What the operator costs, by the cost that the search's budget is about."""
    return amount(COSTS.get_named(config.cost), cost_context(workload, setting=config.setting), operator).value


@torch.no_grad()
def parameters_of(
    operator: OperatorSpec, config: SearchConfig, target: Target, width: int, mean_question: Tensor | None = None
) -> dict[str, Tensor] | None:
    """The parameters of a search (``search(start=...)``) that deploy to about ``operator``.

    ``mean_question`` is the mean direction of the questions of that search, on the CPU.

    None when no parameters do: another model's operator, a site where the search has none, a rule it does not learn.
    """
    parameters = Parameters(config, target, width)
    sites = {site.layer: (number, site) for number, site in enumerate(operator.sites)}
    if (operator.target.layers, operator.target.grid) != (target.layers, target.grid) or operator.image:
        return None
    if not operator.sites or len(sites) < len(operator.sites) or not set(sites) <= set(parameters.layers):
        return None
    if parameters.exact and parameters.layers[0] not in sites:  # that one meets the budget, so it always acts
        return None
    for row, layer in enumerate(parameters.layers):
        if layer in sites and not _learnable(sites[layer][1], parameters, row):
            return None
    scale = math.sqrt(sum(WEIGHTS[name] ** 2 for name in parameters.mixed))
    for row, layer in enumerate(parameters.layers):
        if layer not in sites:
            parameters.keep[row] = 4.0 if row else parameters.keep[row]  # a site that hardly acts
            continue
        number, site = sites[layer]
        arriving = operator.incoming[number]
        parameters.keep[row] = _logit(site.keep / arriving)
        parameters.weights[row] = torch.tensor([scale * site.score.get(name, 0.0) for name in parameters.mixed])
        if parameters.probe.shape[1]:
            parameters.probe[row] = scale * torch.tensor(site.probe) if site.probe else 0.0
        if site.steering:
            read_kd, turn_kd = site.steering.tensors()
            parameters.question_proj[row, : len(read_kd)] = read_kd  # what the search has beyond that turns nothing yet
            parameters.direction_delta[row, : len(turn_kd)] = scale * turn_kd
            if mean_question is not None:
                parameters.mean_question.copy_(mean_question)
                parameters.probe[row] += parameters.mean_delta(row)
        parameters.gamma[row] = _logit(site.transfer.gamma)
        parameters.log_tau[row] = math.log(min(max(site.transfer.tau, TAU_RANGE[0]), TAU_RANGE[1]))
        parameters.nu[row] = _logit(site.transfer.nu)
        parameters.rho[row] = math.log(math.expm1(min(max(site.rho, EDGE), RHO_MOST)))
        parameters.beta[row] = _logit(site.beta)
        if site.selector == "diverse_topk":
            parameters.spread.fill_(min(site.spread, SPREAD_MOST))
    return {name: value.detach().clone() for name, value in parameters.named_parameters()}


def _learnable(site: SiteSpec, parameters: Parameters, row: int) -> bool:
    """Whether the search's site ``row`` can become like this one."""
    selector = parameters.selector if row == 0 else "score"
    if site.place != "decoder" or site.selector != selector or site.similarity != "hidden":
        return False
    if (site.mixing, site.weighing, site.coverage, site.quota) != ("sum", "sum", None, None):
        return False
    if site.scope != parameters.scope:
        return False
    if site.important or site.summary or site.positions != parameters.positions:
        return False
    used = {name for name, weight in site.score.items() if weight}
    if not used <= {
        name for name, allowed in zip(parameters.mixed, parameters.mask[row].tolist(), strict=True) if allowed
    }:
        return False
    if site.probe and len(site.probe) != parameters.probe.shape[1]:
        return False
    if site.steering and site.steering.rank > parameters.question_proj.shape[1]:
        return False
    learned = {name: getattr(site.transfer, name) for name in ("gamma", "tau", "nu", "support")}
    if site.transfer.gamma == 0:  # nothing is handed on: by which rule does not matter
        return True
    return site.transfer.support == parameters.support and site.transfer == Transfer(**learned)


def _logit(share: float) -> float:
    share = min(max(share, EDGE), 1 - EDGE)
    return math.log(share / (1 - share))


def texts(operators: Sequence[OperatorSpec]) -> tuple[str, ...]:
    """As ``nearest`` takes them: what each says but how it was found."""
    return tuple(operator.model_copy(update={"provenance": {}}).to_json() for operator in operators)
