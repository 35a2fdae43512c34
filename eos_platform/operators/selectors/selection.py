"""Which tokens stay at a deployed site, which of those receive, and which of the others give.

All counts follow from the site and the number of tokens, so every shape is known without asking the device.

Legend: b batch, n tokens present, m those that are not important, c picked of these, k candidates, r kept, q dropped,
g giving, e width of what tokens are compared by, p text tokens, d width, i and j places of the rest (of ``alternate``
even and odd ones).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.operators.grid import Grid
from eos_platform.operators.grid_tables import overlap_anchors
from eos_platform.operators.score import multiplier, scaled
from eos_platform.operators.selectors.bipartite import bipartite
from eos_platform.operators.selectors.coverage import coverage
from eos_platform.operators.selectors.density import density
from eos_platform.operators.selectors.diverse_topk import at_once, diverse_topk
from eos_platform.operators.selectors.dpp import dpp
from eos_platform.operators.selectors.log_distance import ABSENT
from eos_platform.operators.selectors.max_sum import max_sum
from eos_platform.operators.selectors.pivots import pivots
from eos_platform.operators.selectors.priority import alternate, crossing, first, priority, protected
from eos_platform.operators.selectors.quota import groups_of, quota_order
from eos_platform.operators.selectors.suppress import suppressed_order, survivors
from eos_platform.operators.spec import SiteSpec
from eos_platform.operators.tokens import cosine_of_all, gather_tokens, partition


class Choice(NamedTuple):
    """Indices among the tokens present (kept, dropped) and places among those (receive, give); all ascending."""

    kept_br: Tensor
    dropped_bq: Tensor  # everyone else, a summary's carrier included
    receive_br: Tensor | None  # places among the kept of those that receive; None: all do
    give_bq: Tensor | None  # places among the dropped of those that give; None: all do
    alike_bqr: Tensor | None  # how alike those that give and receive are, where the choice compared them already


class _Rest(NamedTuple):
    """Those a selector picks from, in raster order: it sees no others."""

    index_bm: Tensor
    compared_bme: Tensor
    score_bm: Tensor | None
    raw_bm: Tensor | None  # the features as they are
    origin_bm: Tensor | None
    present_bm: Tensor | None = None  # bool, which are not passed over; None: all


@torch.no_grad()
def select_tokens(
    site: SiteSpec,
    compared_bne: Tensor,
    score_bn: Tensor | None,
    text_bpd: Tensor | None,
    grid: Grid,
    raw_bn: Tensor | None = None,
    origin_bn: Tensor | None = None,
    line_bn: Tensor | None = None,
    present_bn: Tensor | None = None,
) -> Choice:
    """Apply the selector of ``site``, to all tokens or to those that are not important.

    Args:
        compared_bne: what tokens are compared by.
        score_bn: their score, where the site ranks them.
        text_bpd: text tokens that serve as pivots or are to be covered, where the selector takes some.
        raw_bn: the weighted sum of the features as they are, where the site reads it.
        origin_bn: raster index of each in the original grid, where a quota asks for it.
        line_bn: how tokens stand in line at the selector ``alternate``, where a search has found that already.
        present_bn: bool, those not passed over; the others stay last.
    """
    b, n, _ = compared_bne.shape
    keep, device = site.keep - site.summary, compared_bne.device
    count = keep - site.important
    stays_bn = torch.zeros(b, n, dtype=torch.bool, device=device)
    if present_bn is not None and score_bn is not None:
        score_bn = score_bn.masked_fill(~present_bn, ABSENT)
    rest = _Rest(torch.arange(n, device=device).expand(b, n), compared_bne, score_bn, raw_bn, origin_bn, present_bn)
    if site.important > 0:
        stays_bn = stays_bn.scatter(1, first(_ranked(score_bn), site.important), True)
        rest_bm = partition(~stays_bn, n - site.important)[0]
        of = [
            None if values is None else gather_tokens(values, rest_bm)
            for values in (score_bn, raw_bn, origin_bn, present_bn)
        ]
        rest = _Rest(rest_bm, gather_tokens(compared_bne, rest_bm), *of)
    width = compared_bne.shape[-1]
    cosine_bij: Tensor | None = None  # of those at even and odd places, or of all
    if site.selector == "alternate" and count:
        cosine_bij = crossing(rest.compared_bme)
        if line_bn is not None:
            picks_bc = first(line_bn, count)
        elif site.protect:
            picks_bc = first(protected(cosine_bij, _ranked(rest.score_bm), site.protect), count)
        else:
            picks_bc = first(alternate(cosine_bij), count)
    elif site.selector == "diverse_topk" and count and at_once(width):
        cosine_bij = cosine_of_all(rest.compared_bme)
        picks_bc = _diverse(site, rest, count, cosine_bij)
    elif site.selector == "density":
        candidates_bk = _candidates(rest, count, site.transfer.among)
        picks_bc = candidates_bk.gather(1, density(gather_tokens(rest.compared_bme, candidates_bk), count))
    else:
        picks_bc = _picks(site, rest, count, text_bpd, grid)
    index_bc = rest.index_bm.gather(1, picks_bc)
    stays_bn = stays_bn.scatter(1, index_bc, True)
    kept_br, dropped_bq = partition(stays_bn, keep)

    receive_br: Tensor | None = None
    if site.transfer.to == "destinations":
        counts_bc, receivers = torch.ones_like(picks_bc, dtype=torch.bool), count
        if site.selector == "alternate":  # even places stay because nobody is like them, not to receive
            counts_bc, receivers = picks_bc % 2 == 1, min(count, rest.index_bm.shape[1] // 2)
        receives_bn = torch.zeros_like(stays_bn).scatter(1, index_bc, counts_bc)
        receive_br = partition(receives_bn.gather(1, kept_br), receivers)[0]

    give_bq: Tensor | None = None
    if site.transfer.among < 1:
        if site.selector == "density":
            giver_bg = rest.index_bm.gather(1, candidates_bk)
            givers = giver_bg.shape[1] - count
        else:
            givers = _share(site.transfer.among, n - keep)
            giver_bg = first(_ranked(score_bn).masked_fill(stays_bn, -torch.inf), givers)
        gives_bn = torch.zeros_like(stays_bn).scatter(1, giver_bg, True) & ~stays_bn
        give_bq = partition(gives_bn.gather(1, dropped_bq), givers)[0]

    alike_bqr: Tensor | None = None
    if cosine_bij is not None and compared_once(site, n, width):
        if site.selector == "alternate":  # all that go stand at even places, none of the odd ones does
            goes_bi = torch.ones_like(rest.index_bm, dtype=torch.bool).scatter(1, picks_bc, False)[:, 0::2]
            alike_bqr = gather_tokens(cosine_bij, partition(goes_bi, n - keep)[0])
            alike_bqr = alike_bqr if give_bq is None else gather_tokens(alike_bqr, give_bq)
        else:
            from_bq = dropped_bq if give_bq is None else dropped_bq.gather(1, give_bq)
            alike_bqr = gather_tokens(cosine_bij, from_bq).gather(2, kept_br[:, None].expand(-1, from_bq.shape[1], -1))
    return Choice(kept_br, dropped_bq, receive_br, give_bq, alike_bqr)


def compared_once(site: SiteSpec, tokens: int, width: int) -> bool:
    """Whether the transfer goes by the very similarities that chose which of ``tokens`` tokens stay.

    Args:
        site: the site.
        tokens: that arrive.
        width: of what they are compared by.
    """
    transfer, rest = site.transfer, tokens - site.important
    if transfer.gamma == 0 or transfer.metric != "cosine":
        return False
    if site.selector == "diverse_topk":
        graded = not math.isinf(transfer.tau) or transfer.support.kind == "nearest"
        return at_once(width) and graded and transfer.by == "source" and not site.important
    merges = transfer.tau == 0 and transfer.to == "destinations"
    return site.selector == "alternate" and merges and site.keep - site.summary - site.important >= rest // 2


def _diverse(site: SiteSpec, rest: _Rest, count: int, cosine_bmm: Tensor | None = None) -> Tensor:
    spread = torch.full((), site.spread, device=rest.compared_bme.device)
    value_bm = _ranked(rest.score_bm)
    if site.weighing != "sum":  # a product, as the sum of logarithms
        value_bm = _without_absent(multiplier(value_bm, rest.raw_bm, _degree(rest)), rest)
    return diverse_topk(rest.compared_bme, value_bm, spread, count, cosine_bmm)[0]


def _covering(site: SiteSpec, rest: _Rest, count: int, text_bpd: Tensor | None) -> Tensor:
    assert site.coverage is not None
    if site.coverage.text > 0 and text_bpd is None:
        raise EosError("text rows are to be covered, and no text is given here")
    log_m_bm = score_bm = None
    if rest.score_bm is not None and site.weighs_score:
        if site.weighing == "sum":
            score_bm = scaled(rest.score_bm, _degree(rest))
        else:
            log_m_bm = multiplier(rest.score_bm, rest.raw_bm, _degree(rest))
    found = coverage(
        site.coverage,
        rest.compared_bme,
        count,
        log_m_bn=log_m_bm,
        score_bn=score_bm,
        spread=site.spread,
        text_bte=text_bpd if site.coverage.text > 0 else None,
        present_bn=rest.present_bm,
    )
    return found.order_bc


def _suppressing(site: SiteSpec, rest: _Rest, count: int, grid: Grid) -> Tensor:
    assert site.suppress is not None
    assert rest.origin_bm is not None
    score_bm, group_bm = _ranked(rest.score_bm), None
    rounds = min(count, score_bm.shape[1])
    if site.quota is not None:
        group_bm = groups_of(site.quota, rest.origin_bm, grid, rest.compared_bme, rest.present_bm)
        rounds = score_bm.shape[1]  # groups share by all that survive
    survives_bm = survivors(site.suppress, rest.compared_bme, score_bm, rounds, rest.present_bm, group_bm)
    line_bm = suppressed_order(survives_bm, score_bm)
    if site.quota is None:
        return first(line_bm, count)
    order_bm = quota_order(
        site.quota, line_bm, rest.raw_bm, rest.origin_bm, grid, count, rest.present_bm, group_bm, survives_bm
    )
    return order_bm[:, :count]


def _degree(rest: _Rest) -> Tensor | None:
    """How much of each is there (b, m); None: all of it."""
    return None if rest.present_bm is None else rest.present_bm.to(rest.compared_bme.dtype)


def _without_absent(value_bm: Tensor, rest: _Rest) -> Tensor:
    return value_bm if rest.present_bm is None else value_bm.masked_fill(~rest.present_bm, ABSENT)


def _picks(site: SiteSpec, rest: _Rest, count: int, text_bpd: Tensor | None, grid: Grid) -> Tensor:
    """Places of the tokens picked among the rest (b, count)."""
    b, m, _ = rest.compared_bme.shape
    device = rest.compared_bme.device
    if count == 0:
        return torch.zeros(b, 0, dtype=torch.long, device=device)
    if site.transfer.support.kind == "overlap":
        return overlap_anchors(grid, count, device).expand(b, count)
    if site.selector == "diverse_topk":
        return _diverse(site, rest, count)
    if site.selector == "spaced":
        return (torch.arange(count, device=device) * (m // count)).expand(b, count)
    if site.selector == "bipartite":
        return bipartite(rest.compared_bme, _ranked(rest.score_bm), count)
    if site.selector == "dpp":
        return dpp(rest.compared_bme, _ranked(rest.score_bm), count)
    if site.selector == "coverage":
        return _covering(site, rest, count, text_bpd)
    if site.selector == "suppress":
        return _suppressing(site, rest, count, grid)
    if site.selector == "max_sum":
        return max_sum(rest.compared_bme, _ranked(rest.score_bm), count)
    if site.quota is not None:
        assert rest.origin_bm is not None
        score_bm = _ranked(rest.score_bm)
        order_bm = quota_order(site.quota, score_bm, rest.raw_bm, rest.origin_bm, grid, count, rest.present_bm)
        return order_bm[:, :count]
    if site.selector == "pivots":
        if text_bpd is None:
            raise EosError("selector 'pivots' needs the text tokens that are pivots, which are not given here")
        return pivots(rest.compared_bme, _ranked(rest.score_bm), text_bpd, count)
    value_bm = priority(site.selector, rest.compared_bme, rest.score_bm, count, grid, site.seed, _degree(rest))
    return first(value_bm, count)


def _candidates(rest: _Rest, count: int, among: float) -> Tensor:
    """Places among the rest of those that may be centres: the best-scored share, and as many as there are centres."""
    b, m, _ = rest.compared_bme.shape
    if among == 1:
        return torch.arange(m, device=rest.compared_bme.device).expand(b, m)
    return first(_ranked(rest.score_bm), max(count, _share(among, m))).sort(dim=-1).values


def _ranked(score_bn: Tensor | None) -> Tensor:
    assert score_bn is not None, "a site that ranks has a score"
    return score_bn


def _share(among: float, count: int) -> int:
    """How many of ``count`` tokens a share of them is: at least one, unless the share is 0."""
    return min(count, math.floor(among * count) + 1) if among > 0 else 0
