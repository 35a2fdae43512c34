"""One site, relaxed: no token leaves; each is present to some degree, and everything is differentiable.

Soft, a token of score s stays to the degree sigmoid((s - theta) / T), with theta such that the soft count is the
count wanted. Hard, the deployed selection runs forward and the soft one backward (straight-through). Either way the
values on tokens that stay become those of ``reduce`` as the selection sharpens.

Legend: b batch, n all tokens of the grid, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from eos_platform.operators.score import combine, with_token_features
from eos_platform.operators.select import priority, stay
from eos_platform.operators.spec import FEATURES, SiteSpec, Support
from eos_platform.operators.threshold import soft_keep
from eos_platform.operators.tokens import RelaxedTokens, unit, wide
from eos_platform.operators.transfer import permitted

TAU_FLOOR = 1e-6  # stands for tau = 0: sharper than any two cosines of generic tokens are apart
NOBODY = 1e-12  # less presence than this receives nothing; gradients divide by its square, which must not underflow


@dataclass
class RelaxedSite:
    """A site whose parameters are tensors (0-dim; ``weights`` one a feature), so that gradients reach them."""

    layer: int
    count: Tensor  # how many tokens stay, not necessarily a whole number
    weights: Tensor  # in the order of FEATURES
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

    @classmethod
    def of(cls, site: SiteSpec, device: torch.device | str | None = None) -> RelaxedSite:
        """The relaxed twin of a deployed site."""

        def tensor(value: float | list[float]) -> Tensor:
            return torch.tensor(value, dtype=torch.float32, device=device)

        return cls(
            layer=site.layer,
            count=tensor(float(site.keep)),
            weights=tensor([site.score.get(name, 0.0) for name in FEATURES]),
            gamma=tensor(site.transfer.gamma),
            tau=tensor(max(site.transfer.tau, TAU_FLOOR)),
            nu=tensor(site.transfer.nu),
            rho=tensor(site.rho),
            beta=tensor(site.beta),
            selector=site.selector,
            source=site.transfer.source,
            support=site.transfer.support,
            positions=site.positions,
            seed=site.seed,
        )


def relax(
    site: RelaxedSite,
    tokens: RelaxedTokens,
    features: Mapping[str, Tensor],
    grid: tuple[int, int],
    *,
    temperature: float,
    hard: bool,
) -> RelaxedTokens:
    """Apply ``site`` without removing a token.

    Args:
        features: name -> (b, n); those not given count nothing, but ``norm`` and ``uniqueness`` are computed.
        grid: rows and columns of the original grid, which ``tokens.origin_bn`` indexes.
        temperature: of the selection, > 0.
        hard: run the deployed selection of round(count) tokens forward, the gradient of the soft one backward.
    """
    with torch.autocast(tokens.x_bnd.device.type, enabled=False):
        full = with_token_features(features, tokens.x_bnd, FEATURES, tokens.presence_bn)
        score_bn = combine(full, site.weights, tokens.presence_bn).to(wide(tokens.x_bnd).dtype)
        keep_bn = _keep(site, tokens, score_bn, grid, temperature, hard)
        return _transfer(site, tokens, score_bn, keep_bn, grid)


def _keep(
    site: RelaxedSite, tokens: RelaxedTokens, score_bn: Tensor, grid: tuple[int, int], temperature: float, hard: bool
) -> Tensor:
    """The degree to which each token stays (b, n)."""
    if site.selector == "score" and not hard:
        return soft_keep(score_bn, tokens.presence_bn, site.count, temperature)
    if site.selector == "withdraw":
        return torch.zeros_like(score_bn)
    count = site.count.detach().round().long()
    order_bn = priority(site.selector, tokens.x_bnd, score_bn, count, grid, site.seed, tokens.presence_bn)
    hard_bn = stay(order_bn, count).to(score_bn.dtype)
    if site.selector != "score":
        return hard_bn
    soft_bn = soft_keep(score_bn, tokens.presence_bn, site.count, temperature)
    return hard_bn + (soft_bn - soft_bn.detach())  # bracketed so: the difference is 0 to the bit


def _transfer(
    site: RelaxedSite, tokens: RelaxedTokens, score_bn: Tensor, keep_bn: Tensor, grid: tuple[int, int]
) -> RelaxedTokens:
    x_bnd, size_bn = wide(tokens.x_bnd), tokens.size_bn
    before_bn = tokens.presence_bn
    after_bn = before_bn * keep_bn
    share_bnn = _unnormalised_shares(site, tokens, after_bn, grid)
    # P_ij = share_ij p_j / sum_k share_ik p_k: with presence as a factor, absent tokens too learn what they would get
    total_bn = (share_bnn @ after_bn[..., None])[..., 0]
    found_bn = total_bn > NOBODY
    mass_bn = site.gamma * before_bn * (1 - keep_bn) * size_bn
    if site.source == "importance":
        mass_bn = mass_bn * _relative(score_bn, before_bn)
    mass_bn = torch.where(found_bn, mass_bn, 0.0) / torch.where(found_bn, total_bn, 1.0)
    intake_bn = after_bn / size_bn
    moved_bnd = share_bnn.mT @ torch.cat([mass_bn[..., None] * x_bnd, mass_bn[..., None]], -1)
    moved_bnd = intake_bn[..., None] * moved_bnd  # sum_i t_ij x_i, and sum_i t_ij in the last column
    grown_bn = 1 + moved_bnd[..., -1]
    u_bn = _relative(site.rho * score_bn, after_bn)
    y_bnd = (x_bnd + moved_bnd[..., :-1]) * (u_bn * grown_bn.pow(-site.nu))[..., None]
    return RelaxedTokens(y_bnd.to(tokens.x_bnd.dtype), size_bn * grown_bn, tokens.origin_bn, after_bn)


def _unnormalised_shares(site: RelaxedSite, tokens: RelaxedTokens, after_bn: Tensor, grid: tuple[int, int]) -> Tensor:
    """min(1, exp((cos_ij - c_i) / tau)) within the support (b, n, n), c_i = max_j (cos_ij + log p_j) for tau < 1.

    Among tokens wholly present this is the softmax, shifted (which cancels in P). The cap binds for tokens that are
    partly absent: each draws at most its presence. Without it a small tau would hand all of i's mass to the nearest
    token however little of that is left, and the relaxed operator would lose what the deployed one keeps.
    """
    unit_bnd = unit(tokens.x_bnd)
    cosine_bnn = unit_bnd @ unit_bnd.mT
    n = cosine_bnn.shape[-1]
    forbidden_bnn = torch.eye(n, dtype=torch.bool, device=cosine_bnn.device)[None]
    same_bnn = permitted(site.support, tokens.origin_bn, tokens.origin_bn, grid)
    if same_bnn is not None:
        forbidden_bnn = forbidden_bnn | ~same_bnn
    if site.support.kind == "nearest" and site.support.size is not None:
        with torch.no_grad():
            reach_bnn = (cosine_bnn + after_bn.log()[:, None]).masked_fill(forbidden_bnn, -torch.inf)
            least_bn1 = reach_bnn.topk(min(site.support.size, n), -1).values[..., -1:]
            forbidden_bnn = forbidden_bnn | (reach_bnn < least_bn1)
    sharpness = site.tau.clamp_min(TAU_FLOOR).reciprocal()  # tau = inf: all alike
    logit_bnn = (cosine_bnn * sharpness).masked_fill(forbidden_bnn, -torch.inf)
    handicap_bn = sharpness.clamp_min(1.0) * after_bn.clamp_min(NOBODY).log()
    with torch.no_grad():
        best_bn1 = (logit_bnn + handicap_bn[:, None]).argmax(-1, keepdim=True)
    level_bn1 = logit_bnn.gather(-1, best_bn1) + handicap_bn.gather(-1, best_bn1[..., 0])[..., None]
    level_bn1 = torch.where(level_bn1 == -torch.inf, 0.0, level_bn1)
    return (logit_bnn - level_bn1).clamp_max(0.0).exp()


def _relative(exponent_bn: Tensor, presence_bn: Tensor) -> Tensor:
    """exp(e) / mean exp(e), the mean taken over the tokens present."""
    with torch.no_grad():
        shift_b1 = (exponent_bn + presence_bn.log()).amax(-1, keepdim=True)
        shift_b1 = shift_b1.masked_fill(shift_b1 == -torch.inf, 0.0)
    # the cap binds only for tokens all but absent, whose own value plays no part but must stay finite
    value_bn = (exponent_bn - shift_b1).clamp_max(30.0).exp()
    there_b1 = presence_bn.sum(-1, keepdim=True)
    mean_b1 = (presence_bn * value_bn).sum(-1, keepdim=True) / torch.where(there_b1 > 0, there_b1, 1.0)
    return value_bn / torch.where(mean_b1 > 0, mean_b1, 1.0)
