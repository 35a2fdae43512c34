"""A site at which tokens really leave while it is searched: any selector, any transfer, by the deployed rules.

What has no relaxed form worth having (rounds of pairs, clusters, determinants, summaries) still learns: the deployed
choice runs forward, and its numbers are tensors. Strengths of transfer, averaging and reweighting have their own
gradient. Weights, probe and protection get theirs straight through the choice: a token that stays is present to the
degree 1 + (soft - soft), and one that goes gives 1 - (soft - soft) of itself, soft being the degree to which a relaxed
selection of the same line would keep it; both are 0 in value. A learned metric is reached through the line where
similarity makes it, and through a softmax of the similarities that the merge takes the largest of.

Such sites come before all relaxed ones: every token that arrives is wholly there.

Legend: b batch, n tokens present, r kept, q dropped, g giving, c receiving, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from eos_platform.operators.grid import Grid
from eos_platform.operators.reduce import (
    compared_by,
    importance_of,
    moves,
    needed,
    passed_over,
    raw_of,
    received,
    with_film_features,
    with_prior,
    with_summary,
)
from eos_platform.operators.relaxed.line import soft_keep
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.score import mixed, probe_feature, with_token_features
from eos_platform.operators.selectors.priority import crossing, protected
from eos_platform.operators.selectors.selection import Choice, select_tokens
from eos_platform.operators.spec import SiteSpec
from eos_platform.operators.steer import seen_by, steered
from eos_platform.operators.tokens import RelaxedTokens, Tokens, at_least_float32, cosine, gather_tokens

SOFT_TAU = 0.05  # of the softmax that a merge's gradient goes through
RECEIVES = 1e-6  # what nobody gives to has no power of zero to differentiate


class Left(NamedTuple):
    """What such a site leaves."""

    tokens: RelaxedTokens
    index_br: Tensor


def leave(
    site: RelaxedSite,
    tokens: RelaxedTokens,
    given: Mapping[str, Tensor],
    grid: Grid,
    temperature: float | Tensor,
) -> Left:
    """Apply a site with a template; values are those of ``reduce`` with the same numbers.

    Args:
        given: what the model says of the tokens (``reduce``).
        temperature: of the selection that gradients go through.
    """
    spec = site.template
    assert spec is not None
    x_bnd, n = tokens.x_bnd, tokens.x_bnd.shape[1]
    names = (*needed(spec, n), *site.mixes)
    present_bn = passed_over(spec, given, n)
    degree_bn = None if present_bn is None else present_bn.to(at_least_float32(x_bnd).dtype)
    features = with_film_features(with_token_features(given, x_bnd, names, degree_bn), tokens, names, grid, degree_bn)
    features = with_prior(spec, features, tokens.origin_bn)
    score_bn = _score(site, spec, x_bnd, features, n, degree_bn)
    plain = Tokens(x_bnd, tokens.size_bn, tokens.origin_bn)
    if spec.keep == n:
        everyone_bn = torch.arange(n, device=x_bnd.device).expand(x_bnd.shape[:2])
        y_bnd = _scaled(site, spec, at_least_float32(x_bnd), score_bn)
        return Left(tokens._replace(x_bnd=y_bnd.to(x_bnd.dtype)), everyone_bn)

    compared_bne = compared_by(spec, plain, given, degree_bn) if site.metric is None else seen_by(x_bnd, *site.metric)
    line_bn = score_bn
    if spec.selector == "alternate":
        line_bn = None
        if site.protect is not None and score_bn is not None:
            line_bn = protected(crossing(compared_bne), score_bn, site.protect)
    hard_bn = None if line_bn is None or spec.selector != "alternate" else line_bn.detach()
    detached_bn = None if score_bn is None else score_bn.detach()
    text_bpd = given.get("text_rows" if spec.selector == "coverage" else "text_pivots")
    choice = select_tokens(
        spec,
        compared_bne.detach(),
        detached_bn,
        text_bpd,
        grid,
        raw_bn=raw_of(spec, {name: one.detach() for name, one in features.items()}, plain),
        origin_bn=tokens.origin_bn,
        line_bn=hard_bn,
        present_bn=present_bn,
    )
    slope_bn: Tensor | None = None  # 0 in value
    if line_bn is not None and line_bn.requires_grad:
        count = torch.full((), float(spec.keep), device=x_bnd.device)
        soft_bn = soft_keep(line_bn, torch.ones_like(line_bn), count, temperature)
        slope_bn = soft_bn - soft_bn.detach()

    kept = Tokens(*(gather_tokens(values, choice.kept_br) for values in plain))
    importance_bn = importance_of(spec, features, score_bn, plain)
    if degree_bn is not None:
        importance_bn = degree_bn if importance_bn is None else importance_bn * degree_bn
    if slope_bn is not None:
        importance_bn = (1 - slope_bn) * (1.0 if importance_bn is None else importance_bn)
    y_brd, size_br = at_least_float32(kept.x_bnd), kept.size_bn
    if moves(spec, n):
        sum_brd, share_br = received(_whole(spec), plain, kept, choice, compared_bne, importance_bn, grid)
        if site.metric is not None and spec.transfer.tau == 0 and compared_bne.requires_grad:
            sum_brd = sum_brd + _through_similarity(plain, kept, choice, compared_bne)
        mu = spec.transfer.mu
        sum_brd = sum_brd * (site.gamma if mu == 0 else site.gamma.clamp_min(RECEIVES) ** (1 - mu))
        share_br = share_br * site.gamma
        y_brd = (y_brd + sum_brd) * (1 + share_br).pow(-site.nu)[..., None]
        size_br = size_br * (1 + share_br)
    if score_bn is not None:
        y_brd = _scaled(site, spec, y_brd, gather_tokens(score_bn, choice.kept_br))
    reduced, index_br = Tokens(y_brd.to(x_bnd.dtype), size_br, kept.origin_bn), choice.kept_br
    if spec.summary:
        reduced, index_br = with_summary(plain, reduced, choice, importance_bn)
    presence_br = torch.ones_like(reduced.size_bn) if slope_bn is None else 1 + slope_bn.gather(1, index_br)
    return Left(RelaxedTokens(*reduced, presence_br), index_br)


def _score(
    site: RelaxedSite,
    spec: SiteSpec,
    x_bnd: Tensor,
    features: Mapping[str, Tensor],
    n: int,
    degree_bn: Tensor | None = None,
) -> Tensor | None:
    if not spec.ranks or not (site.mixes or site.probe is not None):
        return None
    probed_bn = None
    if site.probe is not None:
        turned = site.probe if site.steering is None else steered(site.probe, *site.steering, features["question"])
        probed_bn = probe_feature(x_bnd, turned)
    used = [(name, site.weights[number]) for number, name in enumerate(site.mixes)]
    return mixed(features, used, degree_bn, probed_bn, spec.mixing).to(at_least_float32(x_bnd).dtype)


def _whole(spec: SiteSpec) -> SiteSpec:
    """With all of what is dropped given: how much of it is, a tensor says afterwards; nor is it averaged before."""
    return spec.model_copy(update={"transfer": spec.transfer.model_copy(update={"gamma": 1.0})})


def _scaled(site: RelaxedSite, spec: SiteSpec, y_brd: Tensor, score_br: Tensor | None) -> Tensor:
    if spec.rho == 0 or score_br is None:
        return y_brd
    return y_brd * (torch.softmax(site.rho * score_br, -1) * score_br.shape[1])[..., None]


def _through_similarity(tokens: Tokens, kept: Tokens, choice: Choice, compared_bne: Tensor) -> Tensor:
    """Zero in value; its gradient is that of a soft merge, with respect to what tokens are compared by (b, r, d)."""
    giving_bg = choice.dropped_bq if choice.give_bq is None else choice.dropped_bq.gather(1, choice.give_bq)
    taking_bc = choice.kept_br if choice.receive_br is None else choice.kept_br.gather(1, choice.receive_br)
    if 0 in (giving_bg.shape[1], taking_bc.shape[1]):
        return torch.zeros_like(at_least_float32(kept.x_bnd))
    alike_bgc = cosine(gather_tokens(compared_bne, giving_bg), gather_tokens(compared_bne, taking_bc))
    mass_bg = gather_tokens(tokens.size_bn, giving_bg)
    t_bgc = (alike_bgc / SOFT_TAU).softmax(-1) * mass_bg[..., None] / gather_tokens(tokens.size_bn, taking_bc)[:, None]
    soft_bcd = t_bgc.mT @ at_least_float32(gather_tokens(tokens.x_bnd, giving_bg)).detach()
    soft_bcd = soft_bcd - soft_bcd.detach()
    if choice.receive_br is None:
        return soft_bcd
    place_bcd = choice.receive_br[..., None].expand_as(soft_bcd)
    return torch.zeros_like(at_least_float32(kept.x_bnd)).scatter(1, place_bcd, soft_bcd)
