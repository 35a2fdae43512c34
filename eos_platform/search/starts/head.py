"""What a search learns at the sites of a design: they keep their rules and counts, and their numbers become parameters.

It begins at the design itself. Of each site it learns how much of what is dropped is given (gamma), how it is averaged
(nu), the bias of later attention (beta), reweighting (rho); where tokens are ranked, the score, with a probe that the
question steers; where neighbours in line are paired off (``alternate``), how far the score protects tokens from it; and
where tokens are compared, a metric of low rank, which is the identity at first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from eos_platform.operators.reduce import COMPARING
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import ALL_FEATURES, FEATURES, SEARCHED, SiteSpec, Steering, Transfer
from eos_platform.search.config import SearchConfig

# before the language model: text has not met the picture yet
EARLY = ("vision", "norm", "uniqueness", "change", "film_uniqueness")
WEIGHTS = {  # where searches begin
    "last_text": 0.5,
    "mean_text": 0.5,
    "vision": 0.2,
    "norm": 0.1,
    "uniqueness": 0.5,
    "change": 0.5,
    "film_uniqueness": 0.2,
}
PROTECT = 0.05  # at first: enough for weights to have a gradient, too little to change what is merged
SLIGHT = 0.05  # features weighing less than this share of the heaviest are not worth computing
NONE = 0.02  # strengths below this are left out


class Head(nn.Module):
    """The sites of a design before the sites that a search places itself. Tensors have one entry a site."""

    def __init__(self, sites: Sequence[SiteSpec], width: int, features: Collection[str], config: SearchConfig) -> None:
        """``sites``: in the decoder; ``width``: of a token; ``features``: those that the model has."""
        super().__init__()
        self.features = tuple(name for name in features if not (config.portable and name == "vision"))
        self.templates = tuple(self._template(site) for site in sites)
        self.size_bias = config.size_bias
        count = len(self.templates)

        def each(values: Sequence[float]) -> nn.Parameter:
            return nn.Parameter(torch.tensor([float(value) for value in values]))

        self.gamma = each([site.transfer.gamma for site in sites])
        self.nu = each([site.transfer.nu for site in sites])
        self.rho = each([site.rho for site in sites])
        self.beta = each([site.beta for site in sites])
        self.protect = each([site.protect or PROTECT for site in sites])
        table = [[site.score.get(name, 0.0) for name in ALL_FEATURES] for site in self.templates]
        self.weights = nn.Parameter(torch.tensor(table).reshape(count, len(ALL_FEATURES)))
        learns = config.learns_directions
        self.probe = nn.Parameter(torch.zeros(count, width if learns else 0))
        chance = torch.Generator().manual_seed(config.seed + 1)

        def read(rank: int) -> nn.Parameter:
            rank = rank if learns else 0
            first = torch.randn(count, rank, width if rank else 0, generator=chance)
            return nn.Parameter(first / max(1, rank) ** 0.5)

        self.question_proj = read(config.steering_rank)
        self.direction_delta = nn.Parameter(torch.zeros_like(self.question_proj))
        self.metric_proj = nn.Parameter(read(config.metric_rank).detach() / width**0.5)
        self.metric_delta = nn.Parameter(torch.zeros_like(self.metric_proj))
        self.register_buffer("mean_question", torch.zeros(self.question_proj.shape[2]), persistent=False)
        self.mean_question: Tensor

    def __len__(self) -> int:
        return len(self.templates)

    def _template(self, site: SiteSpec) -> SiteSpec:
        """The rules of a site, with all that is read at it."""
        changes: dict[str, object] = {}
        if site.selector == "alternate" and not site.protect:
            score = {name: WEIGHTS[name] for name in FEATURES if name in self._at(site.layer)}
            changes = {"protect": PROTECT, "score": score} if score else {}
        elif self._learns_score(site):
            across = SEARCHED[len(FEATURES) :] if site.scope == "film" else ()
            more = {name: 0.0 for name in (*self._at(site.layer), *across) if name not in site.score}
            changes["score"] = {**site.score, **more}
        if site.transfer.gamma == 0 and site.keep and not site.summary:
            changes["transfer"] = Transfer(gamma=1.0, tau=SOFT, nu=1.0)
        return site.model_copy(update=changes)

    def _at(self, layer: int) -> tuple[str, ...]:
        return tuple(name for name in self.features if name in FEATURES and (layer or name in EARLY))

    @staticmethod
    def _learns_score(site: SiteSpec) -> bool:
        """Whether the score only ranks: where features are read as they are as well, weights are the design's."""
        return site.ranks and site.transfer.source != "attention"

    def _directed(self, site: SiteSpec) -> bool:
        return self.probe.shape[1] > 0 and self._learns_score(site)

    def _measured(self, site: SiteSpec) -> bool:
        compares = site.selector in COMPARING or (site.transfer.gamma > 0 and site.transfer.metric == "cosine")
        return self.metric_proj.shape[1] > 0 and site.similarity == "hidden" and site.selector != "pivots" and compares

    def sites(self) -> list[RelaxedSite]:
        """The sites with what is learned as tensors."""
        return [self._site(number, spec) for number, spec in enumerate(self.templates)]

    def _site(self, number: int, spec: SiteSpec) -> RelaxedSite:
        mixes = tuple(name for name in ALL_FEATURES if name in spec.score)
        columns = [ALL_FEATURES.index(name) for name in mixes]
        weights = self.weights[number]
        if not self._learns_score(spec):
            weights = weights.detach()
        probe: Tensor | None = None
        steering: tuple[Tensor, Tensor] | None = None
        if self._directed(spec):
            probe = self.probe[number]
            if self.question_proj.shape[1]:
                probe = probe - (self.question_proj[number] @ self.mean_question) @ self.direction_delta[number]
                steering = self.question_proj[number], self.direction_delta[number]
        return RelaxedSite(
            layer=spec.layer,
            count=torch.full((), float(spec.keep), device=self.gamma.device),
            weights=torch.stack([weights[column] for column in columns]) if columns else weights[:0],
            gamma=_within(self.gamma[number], 0.0, 1.0),
            tau=torch.full((), float(spec.transfer.tau), device=self.gamma.device),
            nu=_within(self.nu[number], 0.0, 1.0),
            rho=_within(self.rho[number], 0.0, 10.0),
            beta=self.size_bias * _within(self.beta[number], 0.0, 1.0),
            selector=spec.selector,
            positions=spec.positions,
            seed=spec.seed,
            features=(),
            probe=probe,
            steering=steering,
            template=spec,
            mixes=mixes,
            protect=_within(self.protect[number], 0.0, 10.0) if spec.protect else None,
            metric=(self.metric_proj[number], self.metric_delta[number]) if self._measured(spec) else None,
        )

    @torch.no_grad()
    def specs(self) -> tuple[SiteSpec, ...]:
        """The sites as they are deployed."""
        return tuple(self._spec(site) for site in self.sites())

    def _spec(self, site: RelaxedSite) -> SiteSpec:
        spec = site.template
        assert spec is not None
        steers = site.steering is not None and bool(site.steering[1].any())
        probe = site.probe if site.probe is not None and (steers or bool(site.probe.any())) else None
        score = spec.score
        steering: Steering | None = None
        if self._learns_score(spec):
            kept = site.weights * (site.weights.abs() >= SLIGHT * site.weights.abs().amax())
            learned = [] if probe is None else [probe, site.steering[1].flatten()] if site.steering else [probe]
            size = torch.cat([kept, *learned]).norm().clamp_min(1e-12)
            score = {name: short(w) for name, w in zip(site.mixes, (kept / size).tolist(), strict=True) if w}
            if probe is not None:
                probe = probe / size
            if steers and site.steering:
                steering = Steering.of(site.steering[0], site.steering[1] / size)
        gamma = float(site.gamma)
        transfer = spec.transfer.model_copy(
            update={"gamma": short(gamma) if gamma >= NONE else 0.0, "nu": short(float(site.nu))}
        )
        rho = float(site.rho)
        measured = site.metric is not None and bool(site.metric[1].any())
        protect = 0.0 if site.protect is None else short(float(site.protect))
        fields = dict(spec) | {
            "score": score,
            "probe": () if probe is None else tuple(map(short, probe.tolist())),
            "steering": steering,
            "transfer": transfer,
            "rho": short(rho) if rho >= NONE and spec.rho else 0.0,
            "beta": short(float(site.beta)),
            "protect": protect if protect >= NONE else 0.0,
            "metric": Steering.of(*site.metric) if measured and site.metric else None,
        }
        return SiteSpec(**fields)


SOFT = 0.05  # temperature of what a pruning design gives, once it gives


def _within(value: Tensor, low: float, high: float) -> Tensor:
    """Clamped, with a gradient at the bounds as well, where designs begin."""
    return value + (value.clamp(low, high) - value).detach()


def short(value: float) -> float:
    """Enough digits to compute with, few enough to read."""
    return float(f"{value:.5g}")
