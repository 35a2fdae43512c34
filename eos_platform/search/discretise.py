"""From soft parameters to an operator that can be deployed: whole counts that use the budget up, and no more."""

from __future__ import annotations

import torch
from torch import Tensor

from eos_platform.errors import EosError
from eos_platform.models.compute import DecoderShape, compute_ratio
from eos_platform.operators.relax import RelaxedSite
from eos_platform.operators.spec import FEATURES, OperatorSpec, SiteSpec, Target, Transfer
from eos_platform.search.config import SearchConfig
from eos_platform.search.parameters import Parameters

SLIGHT = 0.05  # features weighing less than this share of the heaviest are not worth computing
UNTOUCHED = 0.98  # a site that lets this share of tokens pass does not act
NO_RHO = 0.02  # reweighting below this is left out


def feature_mask(parameters: Parameters) -> Tensor:
    """Which feature weights count at each site (sites, features), 1 or 0."""
    size = parameters.weights.detach().abs()
    return (size >= SLIGHT * size.amax(1, keepdim=True)).float()


def to_operator(parameters: Parameters, counts: tuple[int, ...], target: Target, name: str) -> OperatorSpec:
    """The operator with these whole counts after each candidate site; sites that remove nothing are left out."""
    mask = feature_mask(parameters) if parameters.mask is None else parameters.mask
    sites, before = [], target.tokens
    soft = {site.layer: site for site in _every_site(parameters)}
    for number, (layer, keep) in enumerate(zip(parameters.layers, counts, strict=True)):
        if keep == before:
            continue
        before, site = keep, soft[layer]
        weights = site.weights.detach() * mask[number].to(site.weights.device)
        weights = weights / weights.norm().clamp_min(1e-12)
        rho = float(site.rho.detach())
        sites.append(
            SiteSpec(
                layer=layer,
                keep=keep,
                score={f: _number(w) for f, w in zip(FEATURES, weights.tolist(), strict=True) if w},
                transfer=Transfer(
                    gamma=_number(float(site.gamma.detach())),
                    tau=_number(float(site.tau.detach())),
                    nu=_number(float(site.nu.detach())),
                    support=parameters.support,
                ),
                rho=_number(rho) if rho >= NO_RHO else 0.0,
                beta=_number(float(site.beta.detach())),
                positions=parameters.positions,
            )
        )
    return OperatorSpec(name=name, target=target, sites=tuple(sites))


def _every_site(parameters: Parameters) -> list[RelaxedSite]:
    fixed, parameters.fixed = parameters.fixed, None
    try:
        return parameters.sites(parameters.counts())
    finally:
        parameters.fixed = fixed


def _number(value: float) -> float:
    """Enough digits to compute with, few enough to read."""
    return float(f"{value:.5g}")


@torch.no_grad()
def whole_counts(
    parameters: Parameters,
    config: SearchConfig,
    target: Target,
    shape: DecoderShape,
    text: int,
    steepness: float = 1.0,
) -> tuple[int, ...]:
    """Whole counts in the proportions of the soft ones, as large as the budget allows.

    Gates below one half are shut first: their sites remove nothing.

    Args:
        text: tokens that are not visual.
        steepness: exponent on the share that stays after the first acting site; 0 reduces there alone.

    Raises:
        EosError: not even one token at every site fits the budget.
    """
    stay = 1 - torch.sigmoid(parameters.gate) * (1 - torch.sigmoid(parameters.keep))
    stay = torch.where((parameters.gate > 0) & (stay <= UNTOUCHED), stay, 1.0)
    acting = (stay < 1).nonzero()
    if len(acting):
        later = int(acting[0]) + 1
        stay = torch.cat([stay[:later], stay[later:] ** steepness])
    soft = (target.tokens * stay.cumprod(0)).tolist()

    def scaled(scale: float) -> tuple[int, ...]:
        counts, before = [], target.tokens
        for count, share in zip(soft, stay.tolist(), strict=True):
            # a site that hardly reduces (or is shut) hands on what arrives
            before = before if share > UNTOUCHED else min(before, max(1, int(scale * count)))
            counts.append(before)
        return tuple(counts)

    def ratio(counts: tuple[int, ...]) -> float:
        return compute_ratio(to_operator(parameters, counts, target, "trial"), shape, text)

    low, high = 0.0, target.tokens / max(min(soft), 1e-3)
    counts = scaled(low)
    if ratio(counts) > config.budget:
        counts = tuple(1 for _ in soft)
        if ratio(counts) > config.budget:
            raise impossible(config.budget, ratio(counts))
    for _ in range(40):
        middle = (low + high) / 2
        tried = scaled(middle)
        if ratio(tried) <= config.budget:
            low, counts = middle, tried
        else:
            high = middle
    return counts


def impossible(budget: float, least: float) -> EosError:
    """The error for a budget that nothing reaches."""
    return EosError(
        f"budget {budget:g} is impossible: one visual token at every searched site already takes {least:.3f}"
    )
