"""What a site of an operator does and why it counts as its regime, in words."""

from __future__ import annotations

import math
from collections.abc import Iterable

from eos_platform.operators.rules import Quota, Segments
from eos_platform.operators.spec import OperatorSpec, SiteSpec

PICKS = {
    "score": "keeps the tokens with the best scores",
    "grid": "keeps the middle token of each window of the grid, independently of the picture",
    "alternate": "keeps every other token, and of the rest those least similar to any of them",
    "farthest": "keeps tokens as far from each other as possible, regardless of their scores",
    "random": "keeps random tokens, at the same places in every picture",
    "drop_all": "keeps none",
    "spaced": "keeps evenly spaced tokens",
    "bipartite": "drops, round by round, tokens that are similar to one with a better score",
    "density": "keeps the centres of dense clusters",
    "pivots": "keeps the tokens with the best scores, and those least similar to them and to the text",
    "coverage": "keeps, one by one, the token that covers most of what the tokens kept so far do not cover",
    "suppress": "keeps, one by one, the token with the best score that is not too similar to one kept before",
    "segments": "cuts the film into segments of similar frames and keeps a share of the tokens of each",
    "max_sum": "keeps the token with the best score, then, one by one, the one least similar to all those kept",
    "dpp": "keeps a set of relevant tokens that differ from each other (determinantal point process)",
}


def place_words(site: SiteSpec) -> str:
    """Where a site stands."""
    if site.place == "tower":
        return f"inside the vision tower, before block {site.layer}"
    return "before the language model" if site.layer == 0 else f"before decoder layer {site.layer}"


def site_words(operator: OperatorSpec, number: int) -> list[str]:
    """Sentences about one site: which tokens stay, where the others go, and why that is its regime.

    Args:
        operator: the operator.
        number: of the site, from 0.
    """
    site, arriving = operator.sites[number], operator.incoming[number]
    if site.keep == arriving:
        kept = "keeps every token"
        if site.rho == 0:
            return [f"identity: {kept} unchanged"]
        return [f"reweight: {kept} and scales each by exp({_n(site.rho)} score) (rho), the mean of that being 1"]
    sentences = [_picks(site)]
    if site.steering is not None and site.ranks:
        sentences.append(
            f"the question changes the learned direction of the score (steering, rank {site.steering.rank}):"
            " different questions keep different tokens"
        )
    if site.keep:
        sentences.append(_transfer(site))
    sentences.append(_why(site, arriving))
    if site.rho > 0:
        sentences.append(f"kept tokens are scaled by exp({_n(site.rho)} score) (rho), the mean of that being 1")
    if site.beta > 0 and sizes_differ(operator, number):
        sentences.append(
            f"later attention adds {_n(site.beta)} times the log of a token's size to its logit (beta): one that"
            " represents many" + (" counts as many" if site.beta > 0.95 else " counts for more")
        )
    if site.positions == "renumber":
        sentences.append("positions are renumbered")
    return sentences


def sizes_differ(operator: OperatorSpec, number: int) -> bool:
    """Whether tokens may stand for several after site ``number``: else no attention bias changes anything."""
    moved = (site.transfer.gamma > 0 or site.summary for site in operator.sites[: number + 1])
    return operator.image is not None or any(moved)


def _picks(site: SiteSpec) -> str:
    if site.selector == "diverse_topk" and site.weighing != "sum":
        text = (
            f"keeps, one by one, the token with the largest {_multiplier(site)} times distance to those kept already"
            + ("" if site.spread == 1 else f" to the power of {_n(site.spread)}")
        )
    elif site.coverage is not None:
        text = PICKS["coverage"] + _covered(site)
    elif site.selector == "diverse_topk":
        if site.spread == 0:
            text = PICKS["score"] + " (cover, spread 0)"
        else:
            text = (
                "keeps, one by one, the token with the best score plus"
                f" {_n(site.spread)} times the log distance to those kept already (cover): important tokens that"
                " differ from the rest"
            )
    else:
        text = PICKS[site.selector]
    if site.segments is not None:
        text += _segments(site.segments)
    if site.suppress is not None:
        times = " times the picture's mean" if site.suppress.relative else ""
        text += f" (a cosine above {_n(site.suppress.theta)}{times}), then those barred"
    if site.quota is not None:
        text += f", {_quota(site.quota)}"
    if site.scope == "film":
        text += "; frames of a film are compared with each other"
    if site.exclude_padding:
        text += "; tokens of the picture's margins are kept last"
    if site.prior is not None:
        text += f"; '{site.prior.feature}' is divided by its usual value at that place"
    if site.mixing == "product" and site.ranks:
        text += "; the score is a product of its features, each scaled to [0, 1]"
    if site.important:
        text = f"keeps the {site.important} best scores; of the others it {text}"
    if site.similarity == "keys":
        text += "; similarity is that of the keys in the vision tower"
    if site.similarity == "centred":
        text += "; similarity is measured after subtracting the picture's mean token"
    return text


def _multiplier(site: SiteSpec) -> str:
    return "score, scaled to [0, 1]," if site.weighing == "product" else "raw attention"


def _covered(site: SiteSpec) -> str:
    rule = site.coverage
    assert rule is not None
    what = [name for name, weight in (("visual", rule.visual), ("text", rule.text)) if weight > 0]
    text = f" ({' and '.join(what)} tokens)"
    if not site.weighs_score:
        return text
    if site.weighing == "sum":
        text += f", {_n(rule.weight)} times that added to the score"
        return text + (f" and {_n(site.spread)} times the distance to those kept already" if site.spread else "")
    return text + f", times its {_multiplier(site)}" + ("" if rule.power == 1 else f" to the power of {_n(rule.power)}")


def _segments(rule: Segments) -> str:
    cuts = {
        "gaps": f"at the {rule.parts - 1} least similar neighbouring frames and at cosines below {_n(rule.alike)}",
        "clusters": f"where frames belong to another of {_n(rule.share)} clusters a frame",
        "static": "so that most tokens repeat the first frame of their segment",
    }
    text = f" (cut {cuts[rule.cut]})"
    if rule.still != "none":
        what = "every cosine" if rule.still == "each" else "the mean cosine"
        text += f"; a place that stands still ({what} above {_n(rule.above)}) becomes one token, the mean"
    if rule.salient > 0:
        text += f"; of what moves, {rule.salient:.0%} stay by score"
    if rule.salient < 1:
        where = "" if rule.every == 1 else f", in one frame of {rule.every}"
        text += f"; {'the rest' if rule.salient else 'what stays of what moves'} are centres of clusters{where}"
    return text


def _quota(rule: Quota) -> str:
    shares = {
        "equal": "as many of each of",
        "mean": "of each by its share of the score among",
        "none": f"at most {rule.cap} of each of",
        "survivors": "of each by its number of tokens that are not barred among",
        "softmax": f"more of those that are distinctive by '{rule.feature}' among",
        "listed": "of each as listed among",
    }
    capped = f", at most {rule.cap} of each" if rule.cap is not None and rule.share != "none" else ""
    groups = "principal components" if rule.kind == "components" else rule.kind
    many = "the" if rule.groups is None else rule.groups
    return f"{shares[rule.share]} {many} {groups} first{capped}"


def _transfer(site: SiteSpec) -> str:
    transfer = site.transfer
    if transfer.gamma == 0:
        text = "dropped tokens are discarded (gamma 0)"
    elif site.segments is not None:
        reach = "each frame of their segment that has centres" if site.segments.reach == "segment" else "their frame"
        own = "" if site.segments.own is None else f", which counts {_n(site.segments.own)} against all of them"
        text = f"others join the most similar centre of {reach}{own}"
    else:
        share = "" if transfer.gamma == 1 else f", {transfer.gamma:.0%} of what they hold (gamma {_n(transfer.gamma)})"
        who = (
            "dropped tokens are" if transfer.among == 1 else f"the best-scored {transfer.among:.0%} of the dropped are"
        )
        text = f"{who} {_receivers(site)}{share}, {_averaged(transfer.nu)}"
        if transfer.mu > 0:
            text += f"; received tokens are averaged first (mu {_n(transfer.mu)})"
        if transfer.source != "ones":
            by = "exp(score)" if transfer.source == "importance" else "its raw attention"
            text += f"; each is weighted by {by}"
    if site.summary:
        text += "; one more token is the sum of all dropped ones (summary)"
    return text


def _receivers(site: SiteSpec) -> str:
    transfer = site.transfer
    if transfer.by == "anchor":
        window = transfer.support.kind == "overlap"
        return (
            "pooled over each kept token's window"
            if window
            else (f"taken by each kept token from its {transfer.support.size} nearest")
        )
    if transfer.support.kind == "tube":
        how = "merged into the latest token kept at the same place of an earlier frame"
    elif transfer.tau == 0:
        how = "merged into their most similar kept token (tau 0)"
    elif math.isinf(transfer.tau):
        how = "spread evenly over the kept tokens (tau inf)"
    else:
        # cosines of one picture's tokens lie within about one unit: that is what tau is small or large against
        near = "almost entirely merged into" if transfer.tau < 0.02 else "distributed among"
        what = (
            "the most similar kept token"
            if transfer.tau < 0.02
            else ("the kept tokens most similar to them" if transfer.tau < 0.5 else "kept tokens almost evenly")
        )
        how = f"{near} {what} (tau {_n(transfer.tau)})"
    if transfer.support.kind == "window":
        how += f" of the same one of {transfer.support.size} windows"
    if transfer.support.kind == "nearest":
        how += f", the {transfer.support.size} nearest only"
    return how + (" that the selector chose as destinations" if transfer.to == "destinations" else "")


def _averaged(nu: float) -> str:
    if nu == 1:
        return "averaged (nu 1)"
    if nu == 0:
        return "summed (nu 0)"
    return f"{'nearly averaged' if nu > 0.8 else 'nearly summed' if nu < 0.2 else 'half averaged'} (nu {_n(nu)})"


def _why(site: SiteSpec, arriving: int) -> str:
    regime, transfer = site.regime(arriving), site.transfer
    why = {
        "prune": "what is dropped is lost",
        "merge": "each dropped token is merged entirely into one kept token",
        "pool": "each dropped token is spread evenly, without loss",
    }.get(regime)
    if why is None:
        off = []
        if site.segments is not None:
            several = site.segments.reach == "segment"
            off.append("dropped tokens join several others" if several else "some of the dropped are discarded")
        if 0 < transfer.gamma < 1:
            off.append(f"gamma {_n(transfer.gamma)} is between discarding (0) and keeping all (1)")
        if transfer.gamma > 0 and transfer.by == "source" and 0 < transfer.tau < math.inf:
            off.append(f"tau {_n(transfer.tau)} between merging (0) and pooling (inf)")
        if site.rho > 0:
            off.append("kept tokens are also reweighted")
        if site.summary:
            off.append("a summary token is added to the kept ones")
        if transfer.gamma > 0 and transfer.among < 1:
            off.append("some of the dropped are discarded")
        if transfer.gamma > 0 and transfer.source != "ones":
            off.append("dropped tokens count unequally")
        if transfer.gamma > 0 and transfer.by == "anchor" and transfer.support.kind == "nearest":
            off.append("kept tokens take overlapping neighbourhoods")
        why = _listed(off)
    return f"{regime}: {why}"


def _listed(parts: Iterable[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)}, and {last}" if most else last


def _n(value: float) -> str:
    return f"{value:.3g}"
