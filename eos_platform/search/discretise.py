"""From soft parameters to an operator that can be deployed: whole counts that use the budget up, and no more."""

from __future__ import annotations

import copy
from typing import Any, Protocol

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.costs.flops import DecoderShape, compute_ratio
from eos_platform.costs.quantity import shown_quantity
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Steering, Target, Transfer
from eos_platform.protocols import Cost
from eos_platform.search.config import SearchConfig
from eos_platform.search.parameters import Parameters

SLIGHT = 0.05  # features weighing less than this share of the heaviest are not worth computing
UNTOUCHED = 0.98  # a site that lets this share of tokens pass does not act
NO_RHO = 0.02  # reweighting below this is left out


class Priced(Protocol):
    """The cost that a budget is about, on one model (``search.cost.SearchCost``)."""

    @property
    def cost(self) -> Cost: ...
    @property
    def fitted(self) -> Any: ...
    def deployed(self, operator: OperatorSpec) -> float: ...


def feature_mask(parameters: Parameters) -> Tensor:
    """Which feature weights count at each site (sites, features), 1 or 0."""
    size = parameters.weights.detach().abs() * parameters.mask
    return parameters.mask * (size >= SLIGHT * size.amax(1, keepdim=True))


@torch.no_grad()
def to_operator(parameters: Parameters, counts: tuple[int, ...], target: Target, name: str) -> OperatorSpec:
    """The operator with these whole counts after each candidate site; sites that remove nothing are left out."""
    mask = feature_mask(parameters)
    fixed, parameters.fixed = parameters.fixed, None
    try:
        soft = parameters.sites(torch.ones(len(parameters.layers), device=parameters.keep.device))
    finally:
        parameters.fixed = fixed
    sites = [] if parameters.head is None else list(parameters.head.specs())
    soft, before = soft[len(sites) :], parameters.arriving
    for number, (site, keep) in enumerate(zip(soft, counts, strict=True)):
        if keep == before:
            continue
        before = keep
        weights = site.weights * mask[number]
        steers = site.steering is not None and bool(site.steering[1].any())
        probe = site.probe if site.probe is not None and (steers or bool(site.probe.any())) else None
        # the score is brought to unit spread anyway: only proportions count
        learned = [] if probe is None else [probe, site.steering[1].flatten()] if site.steering else [probe]
        size = torch.cat([weights, *learned]).norm()
        size = size.clamp_min(1e-12)
        rho = float(site.rho)
        sites.append(
            SiteSpec(
                layer=site.layer,
                scope=site.scope,
                keep=keep,
                selector="diverse_topk" if site.selector == "diverse_topk" else "score",
                score={f: _number(w) for f, w in zip(parameters.mixed, (weights / size).tolist(), strict=True) if w},
                probe=() if probe is None else tuple(map(_number, (probe / size).tolist())),
                steering=Steering.of(site.steering[0], site.steering[1] / size) if steers and site.steering else None,
                spread=0.0 if site.spread is None else _number(float(site.spread)),
                transfer=Transfer(
                    gamma=_number(float(site.gamma)),
                    tau=_number(float(site.tau)),
                    nu=_number(float(site.nu)),
                    support=parameters.support,
                ),
                rho=_number(rho) if rho >= NO_RHO else 0.0,
                beta=_number(float(site.beta)),
                positions=parameters.positions,
            )
        )
    return OperatorSpec(name=name, target=target, sites=tuple(sites))


def costliest(parameters: Parameters) -> Parameters:
    """A copy all of whose learned directions are there: a search begins with zeros, which cost nothing deployed."""
    costly = copy.deepcopy(parameters).requires_grad_(False)
    for value in (costly.probe, costly.direction_delta):
        value.fill_(1.0)
    if costly.head is not None:
        for value in (costly.head.probe, costly.head.direction_delta, costly.head.metric_delta):
            value.fill_(1.0)
        costly.head.gamma.clamp_min_(0.5)
    return costly


def _number(value: float) -> float:
    """Enough digits to compute with, few enough to read."""
    return float(f"{value:.5g}")


@torch.no_grad()
def whole_counts(
    soft_counts: Tensor,
    parameters: Parameters,
    config: SearchConfig,
    target: Target,
    shape: DecoderShape,
    text: int,
    steepness: float = 1.0,
    cost: Priced | None = None,
) -> tuple[int, ...]:
    """Whole counts in the proportions of the soft ones, as large as the budget allows.

    Sites that hardly remove anything are left out, unless the budget needs the first.

    Args:
        soft_counts: (sites,)
        text: tokens that are not visual.
        steepness: exponent on the share that stays after the first acting site; 0 reduces there alone.
        cost: that the budget is about; default: the compute ratio.

    Raises:
        EosError: not even one token at every site fits the budget.
    """
    if not parameters.layers:
        return ()
    arriving = parameters.arriving
    stay = soft_counts / torch.cat([soft_counts.new_full((1,), arriving), soft_counts[:-1]])
    stay = torch.where(stay <= UNTOUCHED, stay, 1.0)
    acting = (stay < 1).nonzero()
    if len(acting):
        later = int(acting[0]) + 1
        stay = torch.cat([stay[:later], stay[later:] ** steepness])
    soft = (arriving * stay.cumprod(0)).tolist()
    acts = [share <= UNTOUCHED for share in stay.tolist()]
    more = [0] * len(soft)

    def scaled(scale: float) -> tuple[int, ...]:
        counts, before = [], arriving
        for count, acting, extra in zip(soft, acts, more, strict=True):
            # a site that hardly reduces hands on what arrives
            before = min(before, max(1, int(scale * count) + extra)) if acting else before
            counts.append(before)
        return tuple(counts)

    # what a site costs does not depend on its parameters' values but for zeros, which later steps may change: one
    # operator serves every trial
    everywhere = to_operator(
        costliest(parameters), tuple(range(arriving - 1, arriving - 1 - len(soft), -1)), target, "t"
    )
    head = () if parameters.head is None else everywhere.sites[: len(parameters.head)]

    def ratio(counts: tuple[int, ...]) -> float:
        sites, before = list(head), arriving
        for site, count in zip(everywhere.sites[len(head) :], counts, strict=True):
            if count != before:
                sites.append(site.model_copy(update={"keep": count}))
                before = count
        tried = everywhere.model_copy(update={"sites": tuple(sites)})
        return cost.deployed(tried) if cost else compute_ratio(tried, shape, text)

    low, high = 0.0, (arriving + 1) / max(min(soft), 1e-3)
    if ratio(scaled(high)) <= config.budget:  # no site is needed
        return scaled(high)
    if ratio(scaled(low)) > config.budget:
        acts[0] = True  # the others alone do not do it
    counts = scaled(low)
    if ratio(counts) > config.budget:
        raise impossible(config.budget, ratio(counts), cost)
    for _ in range(40):
        middle = (low + high) / 2
        tried = scaled(middle)
        if ratio(tried) <= config.budget:
            low, counts = middle, tried
        else:
            high = middle
    settled: tuple[int, ...] | None = None
    while settled != counts:  # what rounding down left over; a site that drops out makes room for the ones before it
        settled = counts
        for number in range(len(more)):
            more[number] += 1
            while ratio(tried := scaled(low)) <= config.budget and tried != counts:
                counts = tried
                more[number] += 1
            more[number] -= 1
    return counts


class BudgetError(EosError):
    """A budget that the sites of a search cannot meet; other sites may."""


def impossible(budget: float, least: float, cost: Priced | None = None) -> BudgetError:
    """The error for a budget that nothing reaches."""
    wanted, takes = f"{budget:g}", f"{least:.3f}"
    if cost and cost.cost.unit:
        wanted, takes = (shown_quantity(value, cost.cost) for value in (budget, least))
    fitted = f" as {cost.fitted.how}" if cost and cost.fitted else ""
    return BudgetError(
        f"budget {wanted} is impossible: one visual token at every searched site already takes {takes}{fitted}"
    )
