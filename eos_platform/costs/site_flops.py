"""What a site costs by itself: reading features, comparing tokens, moving what is dropped.

As everywhere, products of matrices count, a multiply-add as 2, and what is not a product is free.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TypeVar

from torch import Tensor

from eos_platform.costs.shapes import DecoderShape
from eos_platform.models.attention.text_queries import PIVOTS as TEXT_PIVOTS
from eos_platform.operators.plan import RATED, PlannedSite
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.selectors.diverse_topk import at_once
from eos_platform.operators.selectors.pivots import VISUAL
from eos_platform.operators.selectors.selection import compared_once
from eos_platform.operators.site import SCORED
from eos_platform.operators.spec import SiteSpec

Number = TypeVar("Number", float, Tensor)
# which share of all pairs of tokens a selector compares
_SIMILAR = {"alternate": 0.25, "farthest": 1.0, "bipartite": 1.0, "suppress": 1.0}
ROWS = {"mean_text", "raters", "corrected", "weighed_text"}  # features for which every text token is a query


def feature_flops(shape: DecoderShape, names: Collection[str], tokens: Number, text_tokens: int, layer: int) -> Number:
    """What a decoder layer is asked about ``tokens`` visual tokens of each unit; what comes from the vision tower costs
    there."""
    tokens = shape.units * tokens
    queries = text_tokens if ROWS & set(names) else 0
    rows = ("last_text" in names) + queries
    present = tokens + text_tokens
    asked, keys = _read_at(shape, layer)
    cost = tokens * 4 * shape.hidden * ("uniqueness" in names)
    if rows or "key_norm" in names or "text_pivots" in names:
        cost = cost + 2 * shape.hidden * keys * present
    if rows:
        cost = cost + 2 * rows * asked * ((1 + shape.gated) * shape.hidden + present)
        cost = cost + 2 * text_tokens * tokens * (("mean_text" in names) + ("raters" in names))
    if "previous_text" in names:
        asked, keys = _read_at(shape, max(layer - 1, 0))
        cost = cost + 2 * shape.hidden * keys * present + 2 * asked * ((1 + shape.gated) * shape.hidden + present)
    if "weighed_text" in names:
        cost = cost + 2 * text_tokens * tokens * shape.heads
    if "corrected" in names:
        cost = cost + 2 * text_tokens * tokens * (shape.head_dim + shape.heads)
    return cost


def _read_at(shape: DecoderShape, layer: int) -> tuple[int, int]:
    """Width of all queries, and of all keys, that a site before a layer reads."""
    if shape.own:
        return shape.own[layer].rows, shape.own[layer].keys
    return shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim


def opening_flops(shape: DecoderShape, names: Collection[str], tokens: int, text_tokens: int) -> float:
    """What is found once, of what enters the language model."""
    cost, tokens = 0.0, shape.units * tokens
    if "relevance" in names:
        cost += 2 * shape.hidden * (tokens + text_tokens)
    if "question" in names:
        cost += question_flops(shape, text_tokens)
    if set(RATED) & set(names):
        cost += 2 * shape.hidden * tokens * text_tokens
    return cost


def question_flops(shape: DecoderShape, text_tokens: int) -> float:
    """The mean direction of the text."""
    return 2 * shape.hidden * text_tokens


def steering_flops(shape: DecoderShape, rank: int) -> float:
    """A question that turns a probe."""
    return 4 * rank * shape.hidden


def site_flops(shape: DecoderShape, planned: PlannedSite, text_tokens: int, frames: int = 1) -> float:
    """What a deployed site before a decoder layer costs; ``frames`` of the operator's target."""
    site, names, tokens = planned.site, planned.features, planned.incoming
    asking = float(feature_flops(shape, names, tokens, text_tokens, site.layer))
    if site.probe and not site.is_noop(tokens):
        asking += shape.units * 2 * shape.hidden * tokens
        if "question" in names and site.steering:
            asking += steering_flops(shape, site.steering.rank)
    reducing = reduce_flops(site, tokens, shape.hidden, shape.key_width, TEXT_PIVOTS, text_tokens, frames)
    return asking + shape.units * reducing


def soft_site_flops(shape: DecoderShape, site: RelaxedSite, here: Tensor, count: Tensor, text_tokens: int) -> Tensor:
    """What a relaxed site costs by itself, differentiable in the tokens that arrive and in those that stay."""
    gone = (here - count).clamp_min(0.0)
    names = site.features if site.selector in SCORED else ()
    cost = feature_flops(shape, names, here, text_tokens, site.layer)
    cost = cost + shape.units * all_pairs(site.selector, here, shape.hidden)
    known = site.selector == "diverse_topk" and at_once(shape.hidden)  # how alike all tokens are
    if site.selector == "diverse_topk":
        cost = cost + shape.units * 2 * shape.hidden * (here * (here if known else count))
    if site.probe is not None:
        cost = cost + shape.units * 2 * shape.hidden * here
    if site.steering is not None:
        cost = cost + steering_flops(shape, len(site.steering[0]))
    return cost + shape.units * (2 if known else 4) * shape.hidden * gone * count


def reduce_flops(
    site: SiteSpec,
    tokens: int,
    width: int,
    key_width: int,
    text_pivots: int = 0,
    text: int = 0,
    frames: int = 1,
) -> float:
    """Choosing and moving, without the features.

    Args:
        site: the site.
        tokens: that arrive.
        width: of a token.
        key_width: of a key of the vision tower.
        text_pivots: text tokens that are pivots.
        text: text tokens, which may be rows to cover.
        frames: of a film, whose tokens these are.
    """
    if site.is_noop(tokens) or site.keep == tokens:
        return 0.0
    compared = key_width if site.similarity == "keys" else width
    kept = site.keep - site.summary
    picked, rest = kept - site.important, tokens - site.important
    cost = 0.0
    if picked:
        cost += all_pairs(site.selector, rest, compared)
    if site.selector == "diverse_topk" and picked:
        cost += 2 * compared * (rest * (rest if at_once(compared) else picked))
    if site.quota is not None and site.quota.kind == "components" and picked:
        cost += 2 * compared * rest * rest  # products of all pairs; what is solved from them is no product
    if site.selector == "max_sum" and picked:
        cost += 2 * compared * rest * (picked - 1)  # a row of cosines a pick
    if site.selector == "dpp":
        cost += rest * picked * (2 * compared + picked - 1)  # a row of cosines a pick, less what earlier ones hold
    if site.coverage is not None and picked:
        text_rows = text if site.coverage.text > 0 else 0
        cost += 2 * compared * rest * (rest + text_rows)
    if site.selector == "pivots" and picked > VISUAL:
        cost += 2 * (VISUAL + text_pivots) * rest * compared
    if site.segments is not None:
        return _segment_flops(site, tokens, width, frames)
    transfer = site.transfer
    if site.metric is not None:
        cost += 4 * site.metric.rank * width * tokens
    if transfer.gamma == 0 or kept == 0:
        return cost
    if transfer.by == "anchor":
        compares = transfer.support.kind == "nearest" and transfer.metric == "cosine"
        return cost + 2 * kept * tokens * (compared * compares + width)
    gives, takes = _givers(site, tokens), _receivers(site, tokens)
    if math.isinf(transfer.tau) and transfer.support.kind == "all":
        return cost + 2 * gives * width  # one weighted sum serves all
    if math.isinf(transfer.tau) and transfer.support.kind == "window":
        return cost  # added up in place, like what is merged; nothing is compared
    compares = transfer.metric == "cosine" and not compared_once(site, tokens, compared)  # distances are no products
    multiplies = transfer.tau > 0  # what is merged is added up in place
    return cost + 2 * gives * takes * (compared * compares + width * multiplies)


def _segment_flops(site: SiteSpec, tokens: int, width: int, frames: int) -> float:
    """Who joins whom; what cuts a film, stands still in it or is dense goes by sums and distances, no products."""
    rule = site.segments
    assert rule is not None
    if site.transfer.gamma == 0 or (rule.salient == 1 and rule.still == "none"):
        return 0.0
    if rule.reach == "frame":
        return 2.0 * width * tokens * tokens / frames
    return 4.0 * width * tokens * site.keep


def all_pairs(selector: str, tokens: Number, width: int) -> Number:
    """Comparing every token with every other, as far as a selector does."""
    return tokens * tokens * (2 * width * _SIMILAR.get(selector, 0.0))


def _receivers(site: SiteSpec, tokens: int) -> int:
    kept = site.keep - site.summary
    if site.transfer.to == "all":
        return kept
    picked = kept - site.important
    return min(picked, (tokens - site.important) // 2) if site.selector == "alternate" else picked


def _givers(site: SiteSpec, tokens: int) -> int:
    kept, among = site.keep - site.summary, site.transfer.among
    if among == 1:
        return tokens - kept
    picked, rest = kept - site.important, tokens - site.important
    if site.selector == "density":
        return max(picked, _share(among, rest)) - picked
    return _share(among, tokens - kept)


def _share(among: float, count: int) -> int:
    return min(count, math.floor(among * count) + 1) if among > 0 else 0
