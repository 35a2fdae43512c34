"""The parameters of a search: for every candidate site how many tokens stay, which, and how the others are merged.

All unbounded inside; the bounds are in how they are read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import FEATURES, SEARCHED, SiteSpec, Support, Target
from eos_platform.search.config import SearchConfig
from eos_platform.search.starts.head import EARLY, WEIGHTS, Head

TAU_RANGE = (1e-3, 10.0)
SPREAD_MOST, RHO_MOST = 10.0, 10.0
# of sites, their shares, a budget and tokens that arrive: by what the shares are multiplied where the budget is met
Scale = Callable[[Sequence[RelaxedSite], Tensor, "float | Tensor", int], Tensor]
STAY = 2.5  # logit of the share that stays at each later site, at first


@dataclass(frozen=True)
class Structure:
    """What gradients do not move: the sites of a design, if any, and where the search places its own after them.

    Attributes:
        start: what it is called.
        head: sites that keep their rules and counts (``search/starts/head.py``); tokens leave at them.
        layers: candidate sites after those.
        selector: of the first of these.
    """

    start: str
    head: tuple[SiteSpec, ...]
    layers: tuple[int, ...]
    selector: str


class Parameters(nn.Module):
    """One entry a candidate site in each tensor; the sites reduce one after the other."""

    def __init__(
        self,
        config: SearchConfig,
        target: Target,
        width: int,
        features: Collection[str] = FEATURES,
        structure: Structure | None = None,
    ) -> None:
        """``width``: of a token; ``features``: those that the model has; ``structure``: default: no design's."""
        super().__init__()
        structure = structure or plain_structure(config, target)
        self.layers = structure.layers
        self.tokens = target.tokens
        # after the head
        self.arriving = structure.head[-1].keep if structure.head else target.tokens
        self.positions = config.positions
        self.selector = structure.selector
        self.support = support_of(config, target)
        self.exact = config.budget_rule == "exact"
        self.size_bias = float(config.size_bias)
        sites = len(self.layers)
        self.keep = nn.Parameter(torch.full((sites,), STAY))  # logit of the share of arriving tokens that stays
        self.scope = config.scope
        self.mixed = SEARCHED if self.scope == "film" else FEATURES  # what a score may be of, a weight each
        table = torch.tensor([[WEIGHTS[name] for name in self.mixed]] * sites)
        self.weights = nn.Parameter(table.reshape(sites, len(self.mixed)))
        self.probe = nn.Parameter(torch.zeros(sites, width if config.learns_directions else 0))
        rank, chance = (
            config.steering_rank if config.learns_directions else 0,
            torch.Generator().manual_seed(config.seed),
        )
        # a question is read at random at first, and turns nothing
        first = torch.randn(sites, rank, width if rank else 0, generator=chance)
        self.question_proj = nn.Parameter(first / max(1, rank) ** 0.5)
        self.direction_delta = nn.Parameter(torch.zeros_like(self.question_proj))
        self.spread = nn.Parameter(torch.ones(()))
        self.gamma = nn.Parameter(torch.full((sites,), 2.5))
        self.log_tau = nn.Parameter(torch.full((sites,), math.log(config.tau_start)))
        self.nu = nn.Parameter(torch.full((sites,), 2.5))
        self.rho = nn.Parameter(torch.full((sites,), -4.0))
        self.beta = nn.Parameter(torch.full((sites,), 2.5))
        # what questions have in common turns nothing, so that the probe alone learns what holds for all of them
        self.register_buffer("mean_question", torch.zeros(width if rank else 0), persistent=False)
        self.mean_question: Tensor
        # which features may count at all, and in the end: which do
        self.features = tuple(name for name in features if not (config.portable and name == "vision"))
        self.features += self.mixed[len(FEATURES) :]
        allowed = [[float(name in self.at(layer)) for name in self.mixed] for layer in self.layers]
        self.register_buffer("mask", torch.tensor(allowed).reshape(sites, len(self.mixed)), persistent=False)
        self.mask: Tensor
        # set when counts are fixed: whole numbers, as numbers and on the device
        self.fixed: tuple[int, ...] | None = None
        self.head = Head(structure.head, width, features, config) if structure.head else None

    def ask(self, mean_question: Callable[[], Tensor]) -> None:
        """Tell what all questions have in common, where questions steer."""
        known = [one for one in (self, self.head) if one is not None and len(one.mean_question)]
        if known:
            found = mean_question()
            for one in known:
                one.mean_question.copy_(found)

    def at(self, layer: int) -> tuple[str, ...]:
        """The features that a site there may weigh."""
        return tuple(name for name in self.features if layer or name in EARLY)

    def shares(self) -> Tensor:
        """Tokens left after each site, over those left after the first (an exact rule) or over all."""
        # not cumprod: its backward asks the device whether anything is zero
        log_stay = F.logsigmoid(self.keep)
        if self.exact:
            log_stay = torch.cat([torch.zeros_like(log_stay[:1]), log_stay[1:]])
        return log_stay.cumsum(0).exp()

    def counts(self, scale: Scale, budget: float | Tensor) -> Tensor:
        """Soft tokens left after each candidate site (sites,), at least one; under an exact rule those that meet the
        budget.

        Args:
            scale: of the cost that the budget is about (``SearchCost.scale``).
            budget: what an exact rule meets.
        """
        if not self.layers:
            return torch.zeros_like(self.keep)
        shares = self.shares()
        if not self.exact:
            return (self.arriving * shares).clamp_min(1.0)
        return (scale(self.sites(shares), shares, budget, self.arriving) * shares).clamp_min(1.0)

    def sites(self, counts: Tensor) -> list[RelaxedSite]:
        """The relaxed sites; once counts are fixed, only those that act."""
        weights = self.weights * self.mask
        tau = self.log_tau.clamp(*(math.log(bound) for bound in TAU_RANGE)).exp()
        made, before = [] if self.head is None else self.head.sites(), self.arriving
        for number, layer in enumerate(self.layers):
            if self.fixed is not None:
                if self.fixed[number] == before:
                    continue
                before = self.fixed[number]
            selector = self.selector if number == 0 else "score"
            made.append(
                RelaxedSite(
                    layer=layer,
                    count=counts[number],
                    weights=weights[number],
                    gamma=torch.sigmoid(self.gamma[number]),
                    tau=tau[number],
                    nu=torch.sigmoid(self.nu[number]),
                    rho=F.softplus(self.rho[number]).clamp_max(RHO_MOST),
                    beta=self.size_bias * torch.sigmoid(self.beta[number]),
                    selector=selector,
                    support=self.support,
                    positions=self.positions,
                    features=self.at(layer),
                    probe=self.direction(number) if self.probe.shape[1] else None,
                    steering=(self.question_proj[number], self.direction_delta[number])
                    if self.question_proj.shape[1]
                    else None,
                    scope=self.scope,
                    spread=self.spread.clamp(0.0, SPREAD_MOST) if selector == "diverse_topk" else None,
                )
            )
        return made

    def direction(self, site: int) -> Tensor:
        """The probe of a site, to which a whole question adds its turn (d,)."""
        return self.probe[site] - self.mean_delta(site) if self.question_proj.shape[1] else self.probe[site]

    def mean_delta(self, site: int) -> Tensor:
        """By how much the mean of all questions turns the probe (d,)."""
        return (self.question_proj[site] @ self.mean_question) @ self.direction_delta[site]

    def whole(self) -> Tensor:
        """The fixed counts on the device."""
        assert self.fixed is not None
        return torch.tensor([float(count) for count in self.fixed], device=self.keep.device)


def plain_structure(config: SearchConfig, target: Target) -> Structure:
    """Of a search that begins with no design."""
    return Structure("", (), candidate_layers(config, target), config.selector)


def candidate_layers(config: SearchConfig, target: Target) -> tuple[int, ...]:
    """Where sites may stand: as told, or before the language model and at five eighths of its depth.

    Measured on the bundled model: the first does nearly all of the work; the second, where text has read the picture,
    helps a little at large budgets; more of them only make the search noisier.
    """
    if config.layers is not None:
        return tuple(config.layers)
    return tuple(sorted({0, min(round(0.625 * target.layers), target.layers - 1)}))


def support_of(config: SearchConfig, target: Target) -> Support:
    """The support a search uses at every site: windows of about 4x4 tokens, or the 4 nearest kept tokens."""
    if config.support == "window":
        return Support(kind="window", size=max(1, target.tokens // 16))
    return Support(kind="nearest", size=4) if config.support == "nearest" else Support()


def new_optimiser(parameters: Parameters, config: SearchConfig) -> torch.optim.Adam:
    """Adam with its moments in place already, so that they can be put back after a capture."""
    on_gpu = parameters.keep.device.type == "cuda"
    rate: Any = torch.tensor(config.learning_rate, device=parameters.keep.device) if on_gpu else config.learning_rate
    optimiser = torch.optim.Adam(parameters.parameters(), lr=rate, betas=(0.9, 0.95), capturable=on_gpu)
    for value in parameters.parameters():
        value.grad = torch.zeros_like(value)
        step = torch.zeros((), device=value.device) if on_gpu else torch.zeros(())
        optimiser.state[value] = {
            "step": step,
            "exp_avg": torch.zeros_like(value),
            "exp_avg_sq": torch.zeros_like(value),
        }
    return optimiser
