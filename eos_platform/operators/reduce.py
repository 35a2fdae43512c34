"""One site, deployed: tokens really leave. Static shapes, no host synchronisation.

Legend: b batch, n tokens present, r kept, q dropped, d width, e width of what tokens are compared by, p text tokens.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.common.when_imported import when_imported
from eos_platform.operators.films.features import FILM_FEATURES, film_feature
from eos_platform.operators.films.segments import reduce_segments
from eos_platform.operators.grid import Grid, cells_of
from eos_platform.operators.score import combine, plain, probe_feature, with_token_features
from eos_platform.operators.selectors.selection import Choice, select_tokens
from eos_platform.operators.spec import SiteSpec
from eos_platform.operators.steer import seen_by, steered, unpacked
from eos_platform.operators.tokens import (
    RelaxedTokens,
    Tokens,
    at_least_float32,
    centred,
    gather_tokens,
    without_autocast,
)
from eos_platform.operators.transfer import gather_support, scatter_dropped

# selectors that look at similarity
COMPARING = (
    *("diverse_topk", "alternate", "farthest", "bipartite", "density", "pivots", "dpp", "coverage"),
    *("suppress", "max_sum"),
)
OF_A_PROMPT = ("text_pivots", "text_rows", "question")  # what ``reduce`` is given of a prompt, not of its tokens


class Reduced(NamedTuple):
    """What a site leaves."""

    tokens: Tokens  # r tokens
    index_br: Tensor  # long, ascending: which of the incoming tokens stayed


def needed(site: SiteSpec, tokens: int) -> tuple[str, ...]:
    """Names of what ``reduce`` reads of ``given`` when so many tokens arrive.

    ``norm`` and ``uniqueness`` are among them where weighed, although it computes them itself when they are not given.
    """
    names = (
        [name for name, weight in site.score.items() if weight] if _ranks(site, tokens) or _sums(site, tokens) else []
    )
    if site.quota is not None and site.quota.feature and site.keep < tokens and site.quota.feature not in names:
        names.append(site.quota.feature)
    if site.similarity == "keys" and _compares(site, tokens):
        names.append("keys")
    if site.selector == "pivots" and site.keep < tokens:
        names.append("text_pivots")
    if site.coverage is not None and site.coverage.text > 0 and site.keep < tokens:
        names.append("text_rows")
    if site.steering and _ranks(site, tokens):
        names.append("question")
    if site.exclude_padding and site.keep < tokens:
        names.append("padding")
    return tuple(names)


def reduce(site: SiteSpec, tokens: Tokens, given: Mapping[str, Tensor], grid: Grid) -> Reduced:
    """Apply ``site`` to the tokens present.

    Args:
        given: what the model says of them (which of it is read: ``needed``). Features by name, each (b, n), of which
            ``norm`` and ``uniqueness`` are computed when not given; ``keys`` (b, n, e), compared where the site's
            similarity is that; ``text_pivots`` (b, p, d), hidden states of text tokens for the selector ``pivots``;
            ``text_rows`` (b, p, d), those that ``coverage`` covers, zeros where there are fewer;
            ``question`` (b, d), the mean direction of the text, where it turns the probe; ``padding`` (b, n), 1 where
            a token is of a margin, where these are passed over.
        grid: rows and columns of the original grid, which ``tokens.origin_bn`` indexes; of a film, frames before these.

    Raises:
        EosError: more tokens are to stay than arrive, or something that is needed is not given.
    """
    b, n, _ = tokens.x_bnd.shape
    if site.keep > n:
        raise EosError(f"keep {site.keep} is more than the {n} tokens that arrive")
    if site.is_noop(n):
        return Reduced(tokens, torch.arange(n, device=tokens.x_bnd.device).expand(b, n))
    if site.transfer.support.kind == "overlap" and n != cells_of(grid):
        raise EosError(f"support 'overlap' needs all {'x'.join(map(str, grid))} tokens of the grid, not {n}")
    with without_autocast(tokens.x_bnd):
        return _reduce(site, tokens, given, grid)


def _reduce(site: SiteSpec, tokens: Tokens, given: Mapping[str, Tensor], grid: Grid) -> Reduced:
    n = tokens.x_bnd.shape[1]
    present_bn, degree_bn = passed_over(site, given, n), None
    if present_bn is not None:
        degree_bn = present_bn.to(at_least_float32(tokens.x_bnd).dtype)
    features: Mapping[str, Tensor] = with_token_features(given, tokens.x_bnd, needed(site, n), degree_bn)
    features = with_film_features(features, tokens, needed(site, n), grid, degree_bn)
    features = with_prior(site, features, tokens.origin_bn)
    score_bn: Tensor | None = None
    if _ranks(site, n):
        probed_bn = probed(site, tokens.x_bnd, given.get("question")) if site.probe else None
        score_bn = combine(features, site.score, degree_bn, probed_bn, site.mixing)
        score_bn = score_bn.to(at_least_float32(tokens.x_bnd).dtype)
    if site.keep == n:
        everyone_bn = torch.arange(n, device=tokens.x_bnd.device).expand(tokens.x_bnd.shape[:2])
        y_bnd = _reweighted(site, at_least_float32(tokens.x_bnd), score_bn)
        return Reduced(tokens._replace(x_bnd=y_bnd.to(tokens.x_bnd.dtype)), everyone_bn)

    if site.segments is not None:
        of_film = reduce_segments(site.segments, tokens.x_bnd, score_bn, grid, site.keep, moves(site, n))
        origin_br = gather_tokens(tokens.origin_bn, of_film.index_br)
        return Reduced(Tokens(of_film.x_brd.to(tokens.x_bnd.dtype), of_film.size_br, origin_br), of_film.index_br)
    compared_bne = compared_by(site, tokens, given, degree_bn)
    raw_bn = raw_of(site, features, tokens)
    text_bpd = given.get("text_rows" if site.selector == "coverage" else "text_pivots")
    choice = select_tokens(
        site, compared_bne, score_bn, text_bpd, grid, raw_bn, tokens.origin_bn, present_bn=present_bn
    )
    kept = Tokens(*(gather_tokens(values, choice.kept_br) for values in tokens))
    importance_bn = importance_of(site, features, score_bn, tokens)
    if degree_bn is not None:  # what is passed over gives nothing
        importance_bn = degree_bn if importance_bn is None else importance_bn * degree_bn
    if moves(site, n) or site.rho > 0:  # else pruning: the very tokens, bit for bit
        y_brd, size_br = at_least_float32(kept.x_bnd), kept.size_bn
        if moves(site, n):
            sum_brd, share_br = received(site, tokens, kept, choice, compared_bne, importance_bn, grid)
            y_brd = (y_brd + sum_brd) * (1 + share_br).pow(-site.transfer.nu)[..., None]
            size_br = size_br * (1 + share_br)
        if score_bn is not None:
            y_brd = _reweighted(site, y_brd, gather_tokens(score_bn, choice.kept_br))
        kept = Tokens(y_brd.to(tokens.x_bnd.dtype), size_br, kept.origin_bn)
    if site.summary:
        return with_summary(tokens, kept, choice, importance_bn)
    return Reduced(kept, choice.kept_br)


def passed_over(site: SiteSpec, given: Mapping[str, Tensor], tokens: int) -> Tensor | None:
    """Which tokens are not of a margin (b, n), bool; None where that plays no part.

    Raises:
        EosError: it does, and is not given.
    """
    if not site.exclude_padding or site.keep == tokens:
        return None
    if "padding" not in given:
        raise EosError("margins of pictures are passed over, and what is a margin is not given here")
    return given["padding"] < 0.5


def with_film_features(
    features: Mapping[str, Tensor],
    tokens: Tokens | RelaxedTokens,
    names: Collection[str],
    grid: Grid,
    degree_bn: Tensor | None = None,
) -> Mapping[str, Tensor]:
    """``features`` plus those of ``names`` that look across the frames of a film."""
    wanted = [name for name in FILM_FEATURES if name in names and name not in features]
    found = {name: film_feature(name, tokens.x_bnd, tokens.origin_bn, grid, degree_bn) for name in wanted}
    return {**features, **found} if found else features


def raw_of(site: SiteSpec, features: Mapping[str, Tensor], tokens: Tokens) -> Tensor | None:
    """What the selector reads of the features as they are (b, n); None: nothing."""
    if site.quota is not None and site.quota.feature:
        return at_least_float32(features[site.quota.feature])
    return plain(features, site.score).to(at_least_float32(tokens.x_bnd).dtype) if site.reads_raw else None


def with_prior(site: SiteSpec, features: Mapping[str, Tensor], origin_bn: Tensor) -> Mapping[str, Tensor]:
    """Features, the one that has a prior divided by it."""
    if site.prior is None or site.prior.feature not in features:
        return features
    name = site.prior.feature
    return {**features, name: site.prior.divides(at_least_float32(features[name]), origin_bn)}


def probed(site: SiteSpec, x_bnd: Tensor, question_bd: Tensor | None = None) -> Tensor:
    """What the site's learned direction says of each token (b, n).

    Args:
        site: with a probe.
        x_bnd: the tokens.
        question_bd: mean direction of the text, where it turns the probe.

    Raises:
        EosError: the direction is one of another hidden space, or the question that turns it is not given.
    """
    if len(site.probe) != x_bnd.shape[-1]:
        raise EosError(f"a probe of {len(site.probe)} numbers does not fit tokens of width {x_bnd.shape[-1]}")
    (probe_d,) = _direction(site.probe, x_bnd.device)
    if site.steering is None:
        return probe_feature(x_bnd, probe_d)
    if question_bd is None:
        raise EosError("the question turns this site's probe, and no question is given here")
    text_kd, visual_kd = _matrices(site.steering.text, site.steering.visual, site.steering.rank, x_bnd.device)
    return probe_feature(x_bnd, steered(probe_d, text_kd, visual_kd, question_bd))


# tuples, even of one: Dynamo names a constant tensor after the function that made it, and what compiles its graph takes
# no two of one name (two sites with probes, say); those in a tuple get names of their own


def _matrices(text: str, visual: str, rank: int, device: torch.device) -> tuple[Tensor, Tensor]:
    return unpacked(text, rank, device), unpacked(visual, rank, device)


def _direction(probe: tuple[float, ...], device: torch.device) -> tuple[Tensor]:
    return (_made(probe, device),)


def _take_for_constant() -> None:
    for made in (_matrices, _direction):
        torch.compiler.assume_constant_result(made)


# not as decorators: these would import the compiler, which takes a second, for everybody
when_imported("torch._dynamo", _take_for_constant)


@lru_cache(maxsize=64)
def _made(probe: tuple[float, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # cached, see grid.py
        return torch.tensor(probe, dtype=torch.float64).to(device)


def received(
    site: SiteSpec,
    tokens: Tokens,
    kept: Tokens,
    choice: Choice,
    compared_bne: Tensor,
    importance_bn: Tensor | None,
    grid: Grid,
) -> tuple[Tensor, Tensor]:
    """What each kept token receives (b, r, d), averaged as ``mu`` says, and the sum of its t_ij (b, r)."""
    transfer = site.transfer
    if transfer.by == "anchor":
        sum_brd, share_br = gather_support(transfer, tokens, choice.kept_br, importance_bn, grid, compared_bne)
    else:
        sum_brd, share_br = _shared_out(site, tokens, kept, choice, compared_bne, importance_bn, grid)
    if transfer.mu > 0:
        mean_br = share_br.clamp_min(torch.finfo(share_br.dtype).tiny).pow(-transfer.mu)
        sum_brd = sum_brd * mean_br[..., None].to(sum_brd.dtype)
    return sum_brd, share_br


def _shared_out(
    site: SiteSpec,
    tokens: Tokens,
    kept: Tokens,
    choice: Choice,
    compared_bne: Tensor,
    importance_bn: Tensor | None,
    grid: Grid,
) -> tuple[Tensor, Tensor]:
    """By source: those of the dropped who give share themselves out to those of the kept who receive."""
    giving_bq, taking_br, taking = choice.dropped_bq, choice.kept_br, kept
    if site.summary:  # all of its carrier is in the summary already
        ones_bn = torch.ones_like(tokens.size_bn) if importance_bn is None else importance_bn
        importance_bn = ones_bn.scatter(1, choice.dropped_bq[:, -1:], 0.0)
    if choice.give_bq is not None:
        giving_bq = giving_bq.gather(1, choice.give_bq)
    if choice.receive_br is not None:
        taking_br = taking_br.gather(1, choice.receive_br)
        taking = Tokens(*(gather_tokens(values, choice.receive_br) for values in kept))
    if 0 in (giving_bq.shape[1], taking_br.shape[1]):  # nobody gives, or nobody receives: the dropped are discarded
        return torch.zeros_like(at_least_float32(kept.x_bnd)), torch.zeros_like(kept.size_bn)
    # chosen by similarities without gradient: where one may flow through them, they are computed once more
    flows = torch.is_grad_enabled() and tokens.x_bnd.requires_grad and 0 < site.transfer.tau < math.inf
    sum_brd, share_br = scatter_dropped(
        site.transfer,
        taking,
        Tokens(*(gather_tokens(values, giving_bq) for values in tokens)),
        None if importance_bn is None else gather_tokens(importance_bn, giving_bq),
        grid,
        None
        if compared_bne is tokens.x_bnd
        else (gather_tokens(compared_bne, taking_br), gather_tokens(compared_bne, giving_bq)),
        None if flows else choice.alike_bqr,
    )
    if choice.receive_br is not None:
        place_brd = choice.receive_br[..., None].expand_as(sum_brd)
        sum_brd = torch.zeros_like(at_least_float32(kept.x_bnd)).scatter(1, place_brd, sum_brd)
        share_br = share_br.new_zeros(kept.size_bn.shape).scatter(1, choice.receive_br, share_br)
    return sum_brd, share_br


def _reweighted(site: SiteSpec, y_brd: Tensor, score_br: Tensor | None) -> Tensor:
    """Scaled by u_j, whose mean over these tokens is 1."""
    if site.rho == 0 or score_br is None:
        return y_brd
    u_br = torch.softmax(site.rho * score_br, -1) * score_br.shape[1]
    return y_brd * u_br[..., None]


def with_summary(tokens: Tokens, kept: Tokens, choice: Choice, importance_bn: Tensor | None) -> Reduced:
    """The kept tokens and, in the place of the last dropped one, the sum of all dropped."""
    x_bqd, size_bq = (
        gather_tokens(at_least_float32(tokens.x_bnd), choice.dropped_bq),
        gather_tokens(tokens.size_bn, choice.dropped_bq),
    )
    if importance_bn is not None:
        x_bqd = x_bqd * gather_tokens(importance_bn, choice.dropped_bq)[..., None]
    carrier_b1 = choice.dropped_bq[:, -1:]
    summary = Tokens(
        x_bqd.sum(1, keepdim=True).to(tokens.x_bnd.dtype),
        size_bq.sum(1, keepdim=True),
        tokens.origin_bn.gather(1, carrier_b1),
    )
    index_br, order_br = torch.cat([choice.kept_br, carrier_b1], 1).sort(dim=-1)
    both = (torch.cat([a, b], 1) for a, b in zip(kept, summary, strict=True))
    return Reduced(Tokens(*(gather_tokens(values, order_br) for values in both)), index_br)


def compared_by(site: SiteSpec, tokens: Tokens, given: Mapping[str, Tensor], degree_bn: Tensor | None = None) -> Tensor:
    """What tokens are compared by (b, n, e); ``degree_bn``: 0 where one is passed over.

    Raises:
        EosError: it is not given, or a metric of another width.
    """
    if site.metric is not None and _compares(site, tokens.x_bnd.shape[1]):
        if site.metric.width != tokens.x_bnd.shape[-1]:
            raise EosError(
                f"a metric of width {site.metric.width} does not fit tokens of width {tokens.x_bnd.shape[-1]}"
            )
        metric, device = site.metric, tokens.x_bnd.device
        return seen_by(tokens.x_bnd, *_matrices(metric.text, metric.visual, metric.rank, device))
    if site.similarity == "hidden" or not _compares(site, tokens.x_bnd.shape[1]):
        return tokens.x_bnd
    if site.similarity == "centred":
        return centred(tokens.x_bnd, degree_bn)
    if "keys" not in given:
        raise EosError("similarity 'keys' compares keys of the vision tower, which are not given here")
    return given["keys"]


def importance_of(
    site: SiteSpec, features: Mapping[str, Tensor], score_bn: Tensor | None, tokens: Tokens
) -> Tensor | None:
    """a_i of every token (b, n); None: 1."""
    n = tokens.x_bnd.shape[1]
    if _sums(site, n):
        return plain(features, site.score).to(at_least_float32(tokens.x_bnd).dtype)
    if site.transfer.source == "importance" and _weighs(site, n) and score_bn is not None:
        return torch.softmax(score_bn, -1) * n  # exp(s) / mean exp(s)
    return None


def moves(site: SiteSpec, tokens: int) -> bool:
    """Whether dropped tokens may give to kept ones."""
    return site.transfer.gamma > 0 and 0 < site.keep < tokens


def _weighs(site: SiteSpec, tokens: int) -> bool:
    """Whether it matters what a dropped token's a_i is."""
    return moves(site, tokens) or (site.summary and site.keep < tokens)


def _sums(site: SiteSpec, tokens: int) -> bool:
    """Whether the features themselves are read, beside what ranks."""
    return site.transfer.source == "attention" and _weighs(site, tokens)


def _ranks(site: SiteSpec, tokens: int) -> bool:
    """Whether the score is read."""
    if site.keep == tokens:
        return site.rho > 0
    weighted = site.transfer.source == "importance" and _weighs(site, tokens)
    chooses = site.weighs_score or site.important > 0 or site.transfer.among < 1 or site.protect > 0
    return chooses or weighted or site.rho > 0


def _compares(site: SiteSpec, tokens: int) -> bool:
    """Whether similarity plays a part."""
    transfer = site.transfer
    graded = not math.isinf(transfer.tau) or transfer.support.kind == "nearest"
    return site.keep < tokens and (site.selector in COMPARING or (moves(site, tokens) and graded))
