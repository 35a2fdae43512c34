"""By what tokens stand in line at a relaxed site, and how far each stays of those before the cut.

Of greedy selectors, these are values whose order is the order of picking. A value is what the token was worth when its
turn came. Such values never rise on the way, so that those above a threshold are the picks made until then. They are
scaled to unit spread, as scores are, so that temperature alone sets how soft the selection is. Gradients reach the
score and the weights; how like tokens are is taken as it is.
The cut is soft: a token of value s stays to the degree sigmoid((s - theta) / T), with theta solved for the count.

Legend: b batch, n tokens, m candidates, c picks, e width, k trial thresholds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from eos_platform.operators.grid import Grid
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.score import multiplier, scaled
from eos_platform.operators.selectors.coverage import coverage
from eos_platform.operators.selectors.diverse_topk import diverse_topk
from eos_platform.operators.selectors.priority import first, priority, stay
from eos_platform.operators.selectors.quota import groups_of, quota_levels
from eos_platform.operators.selectors.suppress import suppressed_order, survivors
from eos_platform.operators.tokens import RelaxedTokens, centred

USELESS = 1e-9  # gain below which a token covers nothing that is not covered
TRIALS, ROUNDS = 32, 6  # each round narrows theta 33-fold, 33^6 > 2^30: thirty bisections in a fifth of the launches


def compared(site: RelaxedSite, tokens: RelaxedTokens) -> Tensor:
    """What tokens are compared by (b, n, e)."""
    return centred(tokens.x_bnd, tokens.presence_bn) if site.similarity == "centred" else tokens.x_bnd


def line_of(
    site: RelaxedSite,
    tokens: RelaxedTokens,
    score_bn: Tensor,
    raw_bn: Tensor | None,
    grid: Grid,
    candidates: int | None,
) -> tuple[Tensor, Tensor | None]:
    """By what tokens stand in line (b, n), and the first ``candidates`` of it, ascending."""
    if site.suppress is not None:
        return _suppressed_line(site, tokens, score_bn, raw_bn, grid), None
    if site.quota is not None:
        return _quota_line(site, tokens, score_bn, raw_bn, grid), None
    if site.selector == "coverage":
        return _coverage_line(site, compared(site, tokens), tokens.presence_bn, score_bn, raw_bn), None
    if site.selector != "diverse_topk" or site.spread is None:
        if candidates is None or site.selector != "score":
            return score_bn, None
        there_bn = score_bn.detach().masked_fill(tokens.presence_bn <= 0.5, -torch.inf)
        return score_bn, first(there_bn, candidates).sort(dim=-1).values
    return _diverse_line(site, compared(site, tokens), tokens.presence_bn, score_bn, raw_bn, candidates)


def _diverse_line(
    site: RelaxedSite,
    compared_bne: Tensor,
    presence_bn: Tensor,
    score_bn: Tensor,
    raw_bn: Tensor | None,
    candidates: int | None,
) -> tuple[Tensor, Tensor | None]:
    """Of ``diverse_topk``: s_i + spread * log distance (of a product: log m_i), and the first ``candidates``."""
    assert site.spread is not None
    n = score_bn.shape[1]
    picks = n if candidates is None else min(candidates, n)
    if site.weighing != "sum":
        score_bn = multiplier(score_bn, raw_bn, presence_bn)
    there_bn = score_bn.detach().masked_fill(presence_bn <= 0.5, -torch.inf)
    order_br, gap_bn = diverse_topk(compared_bne, there_bn, site.spread.detach(), picks)
    line_bn = score_bn + site.spread * gap_bn
    index_bm = None if picks == n else order_br.sort(dim=-1).values
    counted_bm = line_bn.detach() if index_bm is None else line_bn.detach().gather(1, index_bm)
    return line_bn / _spread_of(counted_bm), index_bm


def _coverage_line(
    site: RelaxedSite, compared_bne: Tensor, presence_bn: Tensor, score_bn: Tensor, raw_bn: Tensor | None
) -> Tensor:
    """Of ``coverage``: log gain + power * log m, or the sum, whose terms are scaled anew at each pick and may rise:
    such a value is lowered to that of the pick before."""
    assert site.coverage is not None
    assert site.spread is not None
    there_bn, n, rule = presence_bn > 0.5, score_bn.shape[1], site.coverage
    log_m_bn = added_bn = None
    if site.weighing == "sum":
        added_bn = scaled(score_bn, presence_bn)
    else:
        log_m_bn = multiplier(score_bn, raw_bn, presence_bn)
    found = coverage(
        rule,
        compared_bne,
        n,
        log_m_bn=None if log_m_bn is None else log_m_bn.detach(),
        score_bn=None if added_bn is None else added_bn.detach(),
        spread=site.spread.detach(),
        present_bn=there_bn,
    )
    if log_m_bn is not None:
        line_bn = rule.power * log_m_bn + found.gain_bn.clamp_min(USELESS).log()
    else:
        assert added_bn is not None
        line_bn = added_bn + rule.weight * found.gain_bn + site.spread * found.far_bn
    line_bn = _falling(line_bn, found.order_bc)
    return line_bn / _spread_of(line_bn.detach())


def _quota_line(
    site: RelaxedSite, tokens: RelaxedTokens, score_bn: Tensor, raw_bn: Tensor | None, grid: Grid
) -> Tensor:
    """Of a quota: the score, each level a whole range above the next."""
    assert site.quota is not None
    count = site.count.detach().round().long()
    raw_bn = None if raw_bn is None else raw_bn.detach()
    present_bn = tokens.presence_bn > 0.5
    level_bn = quota_levels(site.quota, score_bn.detach(), raw_bn, tokens.origin_bn, grid, count, present_bn)
    return _by_level(score_bn, level_bn)


def _suppressed_line(
    site: RelaxedSite, tokens: RelaxedTokens, score_bn: Tensor, raw_bn: Tensor | None, grid: Grid
) -> Tensor:
    """Of ``suppress``: the score, tokens that nobody bars a whole range above those that are barred, and those within
    their group's quota two above; which these are is taken as it is."""
    assert site.suppress is not None
    there_bn, compared_bne = tokens.presence_bn > 0.5, compared(site, tokens)
    known_bn, group_bn = score_bn.detach().masked_fill(~there_bn, -torch.inf), None
    if site.quota is not None:
        group_bn = groups_of(site.quota, tokens.origin_bn, grid, compared_bne, there_bn)
    survives_bn = survivors(site.suppress, compared_bne, known_bn, score_bn.shape[1], there_bn, group_bn)
    level_bn = survives_bn.long()
    if site.quota is not None:
        count, order_bn = site.count.detach().round().long(), suppressed_order(survives_bn, known_bn)
        raw_bn = None if raw_bn is None else raw_bn.detach()
        within_bn = quota_levels(
            site.quota, order_bn, raw_bn, tokens.origin_bn, grid, count, there_bn, group_bn, survives_bn
        )
        level_bn = level_bn + 2 * within_bn
    return _by_level(score_bn, level_bn)


def _by_level(score_bn: Tensor, level_bn: Tensor) -> Tensor:
    low_b1, high_b1 = score_bn.detach().amin(-1, keepdim=True), score_bn.detach().amax(-1, keepdim=True)
    line_bn = score_bn + level_bn * (1.0 + high_b1 - low_b1)
    return line_bn / _spread_of(line_bn.detach())


def _falling(line_bn: Tensor, order_bn: Tensor) -> Tensor:
    """Lowered, without gradient, so that values fall along the order (by a little at least where they tie); the first,
    which is chosen by its score alone, is raised where the second is above it."""
    sorted_bn = line_bn.detach().gather(1, order_bn)
    step = 1e-4 * (sorted_bn.amax(-1, keepdim=True) - sorted_bn.amin(-1, keepdim=True)).clamp_min(1e-6)
    place_n = torch.arange(sorted_bn.shape[1], device=sorted_bn.device)
    falls_bn = torch.cat([sorted_bn[:, :2].amax(-1, keepdim=True), sorted_bn[:, 1:]], 1)
    falls_bn = (falls_bn + step * place_n).cummin(-1).values - step * place_n
    return line_bn + torch.zeros_like(line_bn).scatter(1, order_bn, falls_bn - sorted_bn).detach()


def _spread_of(line_bm: Tensor) -> Tensor:
    scale_b1 = line_bm.std(-1, keepdim=True, correction=0)
    return torch.where(scale_b1 > 1e-3, scale_b1, 1.0)


def keep_of(
    site: RelaxedSite,
    tokens: RelaxedTokens,
    line_bn: Tensor,
    grid: Grid,
    temperature: float | Tensor,
    hard: bool,
) -> Tensor:
    """The degree to which each token stays (b, n)."""
    learned = site.selector in ("score", "diverse_topk", "coverage", "suppress")
    if learned and not hard:
        return soft_keep(line_bn, tokens.presence_bn, site.count, temperature)
    if site.selector == "drop_all":
        return torch.zeros_like(line_bn)
    count = site.count.detach().round().long()
    rule = "score" if learned else site.selector
    order_bn = priority(rule, compared(site, tokens), line_bn, count, grid, site.seed, tokens.presence_bn)
    hard_bn = stay(order_bn, count).to(line_bn.dtype)
    if not learned:
        return hard_bn
    soft_bn = soft_keep(line_bn, tokens.presence_bn, site.count, temperature)
    return hard_bn + (soft_bn - soft_bn.detach())  # bracketed so: the difference is 0 to the bit


def soft_keep(score_bn: Tensor, presence_bn: Tensor, count: Tensor, temperature: float | Tensor) -> Tensor:
    """How far each token stays (b, n): sum_i presence_i keep_i = count, where so many are present.

    The threshold is found without gradient; one differentiable Newton step then gives it the gradient of the
    equation it solves (with respect to scores, presence and count).
    """
    with torch.no_grad():
        start_b1 = _solve(score_bn, presence_bn, count, temperature)
        degree_bn = torch.sigmoid((score_bn - start_b1) / temperature)
        slope_b1 = (presence_bn * degree_bn * (1 - degree_bn)).sum(-1, keepdim=True) / temperature
    soft_count_b1 = (presence_bn * torch.sigmoid((score_bn - start_b1) / temperature)).sum(-1, keepdim=True)
    step_b1 = (soft_count_b1 - count) / slope_b1.clamp_min(1e-6)
    # where all is saturated the step has a gradient but no meaningful value
    value_b1 = torch.where(slope_b1 * temperature > 1e-2, step_b1, 0.0).detach()
    theta_b1 = start_b1 + value_b1 + (step_b1 - step_b1.detach())
    return torch.sigmoid((score_bn - theta_b1) / temperature)


def _solve(score_bn: Tensor, presence_bn: Tensor, count: Tensor, temperature: float | Tensor) -> Tensor:
    """theta (b, 1) by repeated sectioning, always a fixed number of rounds, all rows at once."""
    margin = 30 * temperature  # at which a sigmoid is 0 or 1
    bound = math.sqrt(score_bn.shape[-1]) + 1  # a z-score of n tokens is below sqrt(n); absent tokens may lie anywhere
    low_b1 = score_bn.amin(-1, keepdim=True).clamp(-bound, bound) - margin
    high_b1 = score_bn.amax(-1, keepdim=True).clamp(-bound, bound) + margin
    parts_k = torch.arange(1, TRIALS + 1, device=score_bn.device, dtype=score_bn.dtype) / (TRIALS + 1)
    for _ in range(ROUNDS):
        width_b1 = high_b1 - low_b1
        theta_bk = low_b1 + width_b1 * parts_k
        degree_bkn = torch.sigmoid((score_bn[:, None] - theta_bk[..., None]) / temperature)
        soft_count_bk = (degree_bkn @ presence_bn.to(degree_bkn.dtype)[..., None])[..., 0]
        passed_b1 = (soft_count_bk > count).sum(-1, keepdim=True)  # the soft count falls as theta grows
        low_b1 = low_b1 + width_b1 * passed_b1 / (TRIALS + 1)
        high_b1 = low_b1 + width_b1 / (TRIALS + 1)
    return (low_b1 + high_b1) / 2
