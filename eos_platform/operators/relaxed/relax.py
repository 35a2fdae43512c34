"""One site, relaxed: no token leaves; each is present to some degree, and everything is differentiable.

Soft, a token of score s stays to the degree sigmoid((s - theta) / T), with theta such that the soft count is the
count wanted. Hard, the deployed selection runs forward and the soft one backward (straight-through). Either way the
values on tokens that stay become those of ``reduce`` as the selection sharpens.

Legend: b batch, n tokens handed in, m tokens handed on, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from eos_platform.operators.grid import Grid
from eos_platform.operators.reduce import with_film_features
from eos_platform.operators.relaxed.leaving import leave
from eos_platform.operators.relaxed.line import compared, keep_of, line_of
from eos_platform.operators.relaxed.site import TAU_FLOOR, RelaxedSite
from eos_platform.operators.score import combine, plain, probe_feature, with_token_features
from eos_platform.operators.steer import steered
from eos_platform.operators.tokens import RelaxedTokens, at_least_float32, gather_tokens, unit, without_autocast
from eos_platform.operators.transfer import permitted

LEAST_PRESENCE = (
    1e-12  # less presence than this receives nothing; gradients divide by its square, which must not underflow
)


class Relaxed(NamedTuple):
    """What a relaxed site hands on."""

    tokens: RelaxedTokens
    index_bm: Tensor | None  # long, ascending: which of the incoming tokens these are; None: all


def relax(
    site: RelaxedSite,
    tokens: RelaxedTokens,
    features: Mapping[str, Tensor],
    grid: Grid,
    *,
    temperature: float | Tensor,
    hard: bool,
    candidates: int | None = None,
) -> Relaxed:
    """Apply ``site`` without removing a token that might have stayed; at a site with a template, tokens leave.

    Args:
        features: name -> (b, n); those not given count nothing, but ``norm`` and ``uniqueness`` are computed. Where a
            question turns the probe, ``question`` (b, d); where margins are passed over, ``padding`` (b, n).
        grid: rows and columns of the original grid, which ``tokens.origin_bn`` indexes.
        temperature: of the selection, > 0.
        hard: run the deployed selection of round(count) tokens forward, the gradient of the soft one backward.
        candidates: only so many tokens, the first in line, may stay and are handed on; all others are dropped for
            good (selectors ``score`` and ``diverse_topk``). More than the count, by a margin in which presence fades
            out.
    """
    with without_autocast(tokens.x_bnd):
        if site.template is not None:
            return Relaxed(*leave(site, tokens, features, grid, temperature))
        if site.exclude_padding:  # a token of a margin is not there, and so neither stays nor gives
            tokens = tokens._replace(presence_bn=tokens.presence_bn * (features["padding"] < 0.5))
        probe = site.probe
        if probe is not None and site.steering is not None:
            probe = steered(probe, *site.steering, features["question"])
        full = with_token_features(features, tokens.x_bnd, site.features, tokens.presence_bn)
        if site.scope == "film":
            shares = () if site.quota is None else (site.quota.feature,)
            full = {**with_film_features(full, tokens, (*site.features, *shares), grid, tokens.presence_bn)}
        if site.prior is not None and site.prior.feature in full:
            usual = site.prior.divides(at_least_float32(full[site.prior.feature]), tokens.origin_bn)
            full = {**full, site.prior.feature: usual}
        probed_bn = None if probe is None else probe_feature(tokens.x_bnd, probe)
        score_bn = combine(full, site.weights, tokens.presence_bn, probed_bn, site.mixing)
        score_bn = score_bn.to(at_least_float32(tokens.x_bnd).dtype)
        raw_bn = plain(full, site.weights).to(score_bn.dtype) if site.reads_raw else None
        if site.quota is not None and site.quota.feature:
            raw_bn = full[site.quota.feature].to(score_bn.dtype)
        line_bn, index_bm = line_of(site, tokens, score_bn, raw_bn, grid, candidates)
        if index_bm is None:
            keep_bm = keep_of(site, tokens, line_bn, grid, temperature, hard)
        else:
            few = RelaxedTokens(*(gather_tokens(values, index_bm) for values in tokens))
            keep_bm = keep_of(site, few, line_bn.gather(1, index_bm), grid, temperature, hard)
        return Relaxed(_transfer(site, tokens, score_bn, keep_bm, index_bm, grid), index_bm)


def _transfer(
    site: RelaxedSite,
    tokens: RelaxedTokens,
    score_bn: Tensor,
    keep_bm: Tensor,
    index_bm: Tensor | None,
    grid: Grid,
) -> RelaxedTokens:
    x_bnd, size_bn, before_bn = at_least_float32(tokens.x_bnd), tokens.size_bn, tokens.presence_bn
    if index_bm is None:
        few, keep_bn = tokens, keep_bm
    else:
        few = RelaxedTokens(*(gather_tokens(values, index_bm) for values in tokens))
        keep_bn = torch.zeros_like(before_bn, dtype=keep_bm.dtype).scatter(1, index_bm, keep_bm)
    after_bm = few.presence_bn * keep_bm
    share_bnm = _unnormalised_shares(site, tokens, few, after_bm, index_bm, grid)
    # P_ij = share_ij p_j / sum_k share_ik p_k: with presence as a factor, absent tokens too learn what they would get
    total_bn = (share_bnm @ after_bm[..., None])[..., 0]
    found_bn = total_bn > LEAST_PRESENCE
    mass_bn = site.gamma * before_bn * (1 - keep_bn) * size_bn
    if site.source == "importance":
        mass_bn = mass_bn * _relative(score_bn, before_bn)
    mass_bn = torch.where(found_bn, mass_bn, 0.0) / torch.where(found_bn, total_bn, 1.0)
    intake_bm = after_bm / few.size_bn
    moved_bmd = share_bnm.mT @ torch.cat([mass_bn[..., None] * x_bnd, mass_bn[..., None]], -1)
    moved_bmd = intake_bm[..., None] * moved_bmd  # sum_i t_ij x_i, and sum_i t_ij in the last column
    grown_bm = 1 + moved_bmd[..., -1]
    score_bm = score_bn if index_bm is None else score_bn.gather(1, index_bm)
    u_bm = _relative(site.rho * score_bm, after_bm)
    y_bmd = (at_least_float32(few.x_bnd) + moved_bmd[..., :-1]) * (u_bm * grown_bm.pow(-site.nu))[..., None]
    return RelaxedTokens(y_bmd.to(tokens.x_bnd.dtype), few.size_bn * grown_bm, few.origin_bn, after_bm)


def _unnormalised_shares(
    site: RelaxedSite,
    tokens: RelaxedTokens,
    few: RelaxedTokens,
    after_bm: Tensor,
    index_bm: Tensor | None,
    grid: Grid,
) -> Tensor:
    """min(1, exp((cos_ij - c_i) / tau)) within the support (b, n, m), c_i = max_j (cos_ij + log p_j) for tau < 1.

    Among tokens wholly present this is the softmax, shifted (which cancels in P). The cap binds for tokens that are
    partly absent: each draws at most its presence. Without it a small tau would hand all of i's mass to the nearest
    token however little of that is left, and the relaxed operator would lose what the deployed one keeps.
    """
    unit_bnd = unit(compared(site, tokens))
    cosine_bnm = unit_bnd @ (unit_bnd if index_bm is None else gather_tokens(unit_bnd, index_bm)).mT
    _, n, m = cosine_bnm.shape
    place_n = torch.arange(n, device=cosine_bnm.device)
    forbidden_bnm = place_n[:, None] == (place_n[None, None] if index_bm is None else index_bm[:, None])
    same_bnm = permitted(site.support, few.origin_bn, tokens.origin_bn, grid)
    if same_bnm is not None:
        forbidden_bnm = forbidden_bnm | ~same_bnm
    if site.support.kind == "nearest" and site.support.size is not None:
        with torch.no_grad():
            reach_bnm = (cosine_bnm + after_bm.log()[:, None]).masked_fill(forbidden_bnm, -torch.inf)
            least_bn1 = reach_bnm.topk(min(site.support.size, m), -1).values[..., -1:]
            forbidden_bnm = forbidden_bnm | (reach_bnm < least_bn1)
    sharpness = site.tau.clamp_min(TAU_FLOOR).reciprocal()  # tau = inf: all alike
    logit_bnm = (cosine_bnm * sharpness).masked_fill(forbidden_bnm, -torch.inf)
    handicap_bm = sharpness.clamp_min(1.0) * after_bm.clamp_min(LEAST_PRESENCE).log()
    with torch.no_grad():
        best_bn1 = (logit_bnm + handicap_bm[:, None]).argmax(-1, keepdim=True)
    level_bn1 = logit_bnm.gather(-1, best_bn1) + handicap_bm.gather(-1, best_bn1[..., 0])[..., None]
    level_bn1 = torch.where(level_bn1 == -torch.inf, 0.0, level_bn1)
    return (logit_bnm - level_bn1).clamp_max(0.0).exp()


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
