"""The parameters of one site as tensors, so that gradients reach them. Legend: d width."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.operators.prior import Prior
from eos_platform.operators.spec import FEATURES, SEARCHED, Coverage, Quota, SiteSpec, Support, Suppression, Transfer

TAU_FLOOR = 1e-6  # stands for tau = 0: sharper than any two cosines of generic tokens are apart
SELECTORS = ("score", "diverse_topk", "grid", "alternate", "farthest", "random", "drop_all", "coverage", "suppress")


@dataclass
class RelaxedSite:
    """A site whose parameters are tensors (0-dim; ``weights`` one a feature), so that gradients reach them."""

    layer: int
    count: Tensor  # how many tokens stay, not necessarily a whole number
    weights: Tensor  # in the order of FEATURES; of films, of SEARCHED
    gamma: Tensor
    tau: Tensor
    nu: Tensor
    rho: Tensor
    beta: Tensor
    selector: str = "score"
    source: Literal["ones", "importance"] = "ones"
    support: Support = field(default_factory=Support)
    positions: Literal["keep", "renumber"] = "keep"
    seed: int = 0
    features: tuple[str, ...] = FEATURES  # those it may weigh; the others count nothing
    probe: Tensor | None = None  # (d,), a learned direction
    steering: tuple[Tensor, Tensor] | None = None  # (k, d) each, how the question turns it
    spread: Tensor | None = None  # 0-dim, of the selectors "diverse_topk" and "coverage"
    similarity: Literal["hidden", "centred"] = "hidden"
    mixing: Literal["sum", "product"] = "sum"
    weighing: Literal["sum", "product", "raw"] = "sum"
    coverage: Coverage | None = None
    quota: Quota | None = None
    suppress: Suppression | None = None
    prior: Prior | None = None
    exclude_padding: bool = False
    scope: Literal["frame", "film"] = "frame"  # reduced by themselves, or the frames of a film together
    # tokens really leave at a site that has a template, by its rules; the rest is what it learns (``leaving.py``)
    template: SiteSpec | None = None
    mixes: tuple[str, ...] = ()  # features its score is mixed from, in the order of ``weights``
    protect: Tensor | None = None  # 0-dim
    metric: tuple[Tensor, Tensor] | None = None  # (k, d) each

    @property
    def reads_raw(self) -> bool:
        """Whether the selector reads the features as they are."""
        return self.weighing == "raw" or (self.quota is not None and self.quota.share == "mean")

    @classmethod
    def of(cls, site: SiteSpec, device: torch.device | str | None = None) -> RelaxedSite:
        """The relaxed twin of a deployed site.

        Raises:
            EosError: the site lies off the axes that a search moves along.
        """
        for axis, value in _beyond(site).items():
            raise EosError(f"a search does not move sites with {axis} {value}: such a site has no relaxed form")
        film = site.scope == "film"
        source: Literal["ones", "importance"] = "importance" if site.transfer.source == "importance" else "ones"

        def tensor(value: float | list[float]) -> Tensor:
            return torch.tensor(value, dtype=torch.float32, device=device)

        return cls(
            layer=site.layer,
            count=tensor(float(site.keep)),
            weights=tensor([site.score.get(name, 0.0) for name in (SEARCHED if film else FEATURES)]),
            gamma=tensor(site.transfer.gamma),
            tau=tensor(max(site.transfer.tau, TAU_FLOOR)),
            nu=tensor(site.transfer.nu),
            rho=tensor(site.rho),
            beta=tensor(site.beta),
            selector=site.selector,
            source=source,
            support=site.transfer.support,
            positions=site.positions,
            seed=site.seed,
            probe=tensor(list(site.probe)) if site.probe else None,
            steering=site.steering.tensors(device) if site.steering else None,
            spread=tensor(site.spread) if site.selector in ("diverse_topk", "coverage") else None,
            similarity="centred" if site.similarity == "centred" else "hidden",
            mixing=site.mixing,
            weighing=site.weighing,
            coverage=site.coverage,
            quota=site.quota,
            suppress=site.suppress,
            prior=site.prior,
            exclude_padding=site.exclude_padding,
            scope=site.scope,
            features=tuple(SEARCHED) if film else FEATURES,
        )


def _beyond(site: SiteSpec) -> dict[str, str]:
    """Axes off their default that only deployed sites have, with their values."""
    transfer, plain, still = site.transfer, SiteSpec(layer=0, keep=0, selector="drop_all"), Transfer()
    values = {name: getattr(site, name) for name in ("place", "important", "summary")}
    beyond = {name: value for name, value in values.items() if value != getattr(plain, name)}
    if transfer.support.kind == "tube":
        beyond["transfer.support.kind"] = transfer.support.kind
    if site.similarity == "keys":
        beyond["similarity"] = site.similarity
    if site.coverage is not None and site.coverage.text > 0:
        beyond["coverage.text"] = site.coverage.text
    if site.selector not in SELECTORS:
        beyond["selector"] = site.selector
    values = {name: getattr(transfer, name) for name in ("by", "to", "among", "mu", "metric")}
    beyond |= {f"transfer.{name}": value for name, value in values.items() if value != getattr(still, name)}
    if transfer.source == "attention":
        beyond["transfer.source"] = transfer.source
    for name, weight in site.score.items():
        if weight and name not in (SEARCHED if site.scope == "film" else FEATURES):
            beyond["feature"] = name
    return {axis: f"'{value}'" if isinstance(value, str) else str(value) for axis, value in beyond.items()}
