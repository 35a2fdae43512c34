"""Which hand-designed operator an operator is nearest to, at the same compute.

The distance is the mean of four, each from 0 (the same) to 1:

- placement: how far tokens would have to be moved along the depth (blocks of the vision tower, then decoder layers) to
  make the one's removals the other's, over the whole depth (earth mover's distance of where tokens are removed);
- counts: mean over decoder layers of |a - b| / max(a, b), of the visual tokens that enter;
- selector: half how tokens are picked (by score, by unlikeness, by place, by chance: half the sum of differences), half
  what the score is made of (1 - cosine of the sizes of its weights; 1 where only one of the two has a score);
- transfer: half the difference of gamma, half the mean difference of tau (as tau / (tau + .1)), nu, locality of the
  support and unequal sources (all times gamma), rho, beta (where sizes differ) and a summary.

Selector and transfer of an operator are means over its sites, weighted by the tokens removed there. A shrunk picture
counts as pooling by place before everything else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from eos_platform.analysis.explain.describe import sizes_differ
from eos_platform.common.errors import EosError
from eos_platform.costs.flops import DecoderShape
from eos_platform.costs.match import match
from eos_platform.operators.designs import suited
from eos_platform.operators.spec import ALL_FEATURES, OperatorSpec, SiteSpec, Target

AXES = ("placement", "counts", "selector", "transfer")
SLACK = 1 + 1e-9  # on the ratio to match, which is the operator's own up to rounding
# how each selector picks: by score, by unlikeness, by place, by chance
RULES = {
    "score": (1.0, 0.0, 0.0, 0.0),
    "grid": (0.0, 0.0, 1.0, 0.0),
    "spaced": (0.0, 0.0, 1.0, 0.0),
    "alternate": (0.0, 0.5, 0.5, 0.0),
    "farthest": (0.0, 1.0, 0.0, 0.0),
    "density": (0.0, 1.0, 0.0, 0.0),
    "bipartite": (0.5, 0.5, 0.0, 0.0),
    "pivots": (0.5, 0.5, 0.0, 0.0),
    "dpp": (0.5, 0.5, 0.0, 0.0),
    "coverage": (0.5, 0.5, 0.0, 0.0),
    "suppress": (0.5, 0.5, 0.0, 0.0),
    "max_sum": (0.0, 1.0, 0.0, 0.0),
    "segments": (0.5, 0.5, 0.0, 0.0),
    "random": (0.0, 0.0, 0.0, 1.0),
    "drop_all": (0.0, 0.0, 0.0, 0.0),  # all go, so there is nothing to pick
}
HALFWAY = 0.1  # the tau that lies between merging and pooling


@dataclass(frozen=True)
class Near:
    """A design at the operator's compute, and how far it is."""

    design: str
    operator: OperatorSpec
    axes: dict[str, float]

    @property
    def distance(self) -> float:
        """The mean of the four."""
        return sum(self.axes.values()) / len(self.axes)


def nearest(operator: OperatorSpec, ratio: float, target: Target, shape: DecoderShape, text_tokens: int) -> list[Near]:
    """Every design that reduces and reaches the operator's compute, nearest first; none for an identity operator.

    Args:
        ratio: the operator's compute ratio.
        target, shape, text_tokens: of the model.
    """
    if not _profile_weights(operator):
        return []
    designs = []
    for name in suited(target.frames):
        try:
            other = match(name, ratio * SLACK, target, shape, text_tokens)
        except EosError:  # it cannot be had at this compute
            continue
        if _profile_weights(other):
            designs.append(Near(name, other, distances(operator, other)))
    return sorted(designs, key=lambda near: near.distance)


def distances(a: OperatorSpec, b: OperatorSpec) -> dict[str, float]:
    """The four distances between two operators for the same model, by axis."""
    return {
        "placement": _placement(a, b),
        "counts": sum(abs(m - n) / max(m, n, 1) for m, n in zip(a.counts, b.counts, strict=True)) / len(a.counts),
        "selector": _selector(a, b),
        "transfer": _transfer(a, b),
    }


def _profile_weights(operator: OperatorSpec) -> list[tuple[SiteSpec | None, int, float]]:
    """(site, its number, share of all removals) of what acts; no site: the shrunk picture."""
    profile: list[tuple[SiteSpec | None, int, float]] = []
    if operator.arriving < operator.target.tokens:
        profile.append((None, -1, float(operator.target.tokens - operator.arriving)))
    for number, (site, arriving) in enumerate(zip(operator.sites, operator.incoming, strict=True)):
        if not site.is_noop(arriving):
            profile.append((site, number, float(arriving - site.keep)))
    total = sum(weight for *_, weight in profile)
    # sites that only reweight count alike
    return [(site, number, weight / total if total else 1 / len(profile)) for site, number, weight in profile]


def _placement(a: OperatorSpec, b: OperatorSpec) -> float:
    vision = max(a.target.vision_layers, b.target.vision_layers)
    depth = vision + a.target.layers

    def removed(operator: OperatorSpec) -> list[float]:
        where = [0.0] * depth
        for site, _, weight in _profile_weights(operator):
            at = 0 if site is None else site.layer + (vision if site.place == "decoder" else 0)
            where[min(at, depth - 1)] += weight
        return where

    total, moved = 0.0, 0.0
    for one, other in zip(removed(a), removed(b), strict=True):
        moved += one - other
        total += abs(moved)
    return min(1.0, total / max(1, depth - 1))


def _selector(a: OperatorSpec, b: OperatorSpec) -> float:
    rules, scores = zip(*(_picking(operator) for operator in (a, b)), strict=True)
    rule = sum(abs(m - n) for m, n in zip(*rules, strict=True)) / 2
    lengths = [math.sqrt(sum(size**2 for size in score.values())) for score in scores]
    if not any(lengths):
        return rule / 2
    if not all(lengths):
        return (rule + 1) / 2
    product = sum(size * scores[1][name] for name, size in scores[0].items())
    return (rule + max(0.0, 1 - product / lengths[0] / lengths[1])) / 2


def _picking(operator: OperatorSpec) -> tuple[list[float], dict[str, float]]:
    """How tokens are picked (as in ``RULES``), and the sizes of the score's weights."""
    rule, score = [0.0] * 4, dict.fromkeys((*ALL_FEATURES, "probe"), 0.0)
    for site, _, weight in _profile_weights(operator):
        if site is None:
            rule[2] += weight
            continue
        if site.selector == "diverse_topk":
            unlike = site.spread / (1 + site.spread)
            own: tuple[float, ...] = (1 - unlike, unlike, 0.0, 0.0)
        elif site.coverage is not None and not site.weighs_score:
            own = (0.0, 1.0, 0.0, 0.0)
        elif site.quota is not None:
            own = (0.5, 0.0, 0.5, 0.0)
        else:
            own = RULES[site.selector]
        best = site.important / max(site.keep, 1)
        own = tuple((1 - best) * part + best * (place == 0) for place, part in enumerate(own))
        rule = [total + weight * part for total, part in zip(rule, own, strict=True)]
        if site.ranks:
            sizes = {name: abs(value) for name, value in site.score.items() if value}
            if any(site.probe):
                sizes["probe"] = math.sqrt(sum(part**2 for part in site.probe))
            length = math.sqrt(sum(size**2 for size in sizes.values()))
            for name, size in sizes.items():
                score[name] += weight * size / length
    return rule, score


def _transfer(a: OperatorSpec, b: OperatorSpec) -> float:
    one, other = _given_on(a), _given_on(b)
    first, *rest = (abs(m - n) for m, n in zip(one, other, strict=True))
    return first / 2 + sum(rest) / len(rest) / 2


def _given_on(operator: OperatorSpec) -> list[float]:
    """gamma first."""
    totals = [0.0] * 8
    for site, number, weight in _profile_weights(operator):
        own = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]  # a picture shrunk by averaging
        if site is not None:
            transfer = site.transfer
            gamma = transfer.gamma
            tau = 1.0 if math.isinf(transfer.tau) else transfer.tau / (transfer.tau + HALFWAY)
            own = [
                gamma,
                gamma * tau,
                gamma * transfer.nu,
                gamma * (transfer.support.kind != "all"),
                gamma * (transfer.source != "ones" or transfer.among < 1),
                min(site.rho, 1.0),
                site.beta * sizes_differ(operator, number),
                float(site.summary),
            ]
        totals = [total + weight * part for total, part in zip(totals, own, strict=True)]
    return totals
