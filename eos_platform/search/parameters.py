"""The parameters a search turns: for every candidate site whether it acts, how many tokens stay, which, and what
becomes of the rest. All unbounded inside; the bounds are in how they are read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eos_platform.operators.relax import RelaxedSite
from eos_platform.operators.spec import FEATURES, Support, Target
from eos_platform.search.config import SearchConfig

TAU_RANGE = (1e-3, 10.0)
WEIGHTS = {"last_text": 0.5, "mean_text": 0.5, "vision": 0.2, "norm": 0.1, "uniqueness": 0.5}  # where searches begin


class Parameters(nn.Module):
    """One entry a candidate site in each tensor; the sites reduce one after the other."""

    def __init__(self, config: SearchConfig, target: Target) -> None:
        super().__init__()
        self.layers = tuple(config.layers) if config.layers is not None else tuple(range(target.layers))
        self.tokens = target.tokens
        self.positions = config.positions
        self.support = support_of(config, target)
        sites = len(self.layers)
        self.gate = nn.Parameter(torch.full((sites,), 2.0))
        self.keep = nn.Parameter(torch.zeros(sites))  # logit of the share of arriving tokens that stays
        self.weights = nn.Parameter(torch.tensor([[WEIGHTS[name] for name in FEATURES]] * sites))
        self.gamma = nn.Parameter(torch.full((sites,), 1.5))
        self.log_tau = nn.Parameter(torch.full((sites,), math.log(config.tau_start)))
        self.nu = nn.Parameter(torch.full((sites,), 2.5))
        self.rho = nn.Parameter(torch.full((sites,), -4.0))
        self.beta = nn.Parameter(torch.full((sites,), 1.5))
        # set when counts are fixed: whole numbers, sites that act, features that count
        self.fixed: tuple[int, ...] | None = None
        self.mask: Tensor | None = None

    def counts(self) -> list[Tensor]:
        """Soft tokens left after each site: N (1 - gate (1 - keep)), one site after the other, at least one."""
        stay = 1 - torch.sigmoid(self.gate) * (1 - torch.sigmoid(self.keep))
        return list((self.tokens * stay.cumprod(0)).clamp_min(1.0))

    def sites(self, counts: Sequence[Tensor]) -> list[RelaxedSite]:
        """The relaxed sites; once counts are fixed, only those that act."""
        weights = self.weights if self.mask is None else self.weights * self.mask
        tau = self.log_tau.clamp(*(math.log(bound) for bound in TAU_RANGE)).exp()
        made, before = [], self.tokens
        for number, layer in enumerate(self.layers):
            count = counts[number]
            if self.fixed is not None:
                if self.fixed[number] == before:
                    continue
                before = self.fixed[number]
                count = count + (before - count.detach())  # the whole number, with the gradient of the soft one
            made.append(
                RelaxedSite(
                    layer=layer,
                    count=count,
                    weights=weights[number],
                    gamma=torch.sigmoid(self.gamma[number]),
                    tau=tau[number],
                    nu=torch.sigmoid(self.nu[number]),
                    rho=nn.functional.softplus(self.rho[number]),
                    beta=torch.sigmoid(self.beta[number]),
                    support=self.support,
                    positions=self.positions,
                )
            )
        return made


def support_of(config: SearchConfig, target: Target) -> Support:
    """The support a search uses at every site: windows of about 4x4 tokens, or the 4 nearest kept tokens."""
    if config.support == "window":
        return Support(kind="window", size=max(1, target.tokens // 16))
    return Support(kind="nearest", size=4) if config.support == "nearest" else Support()
