"""A short search on the deployed form over what gradients cannot move: counts between sites, selectors, supports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ValidationError

from eos_platform.common.errors import EosError
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Support
from eos_platform.search.portfolio.judge import Judge
from eos_platform.tasks.base import Subject

SHIFTS = (0.92, 1.08)  # of the tokens left after a site, those of the last then meeting the budget
ERRORS = 1.0  # standard errors by which a change must lower the loss
Price = Callable[[OperatorSpec], float]


def improved(
    workload: Subject, operator: OperatorSpec, price: Price, most: float, judge: Judge, tries: int
) -> tuple[OperatorSpec, list[str]]:
    """The operator after a walk over its neighbours, and which steps were taken.

    Moves are judged on one half of the questions; the walk as a whole must hold on the other.

    Args:
        price: of an operator.
        most: what it may cost.
        tries: operators deployed at most.
    """
    half = judge.questions // 2
    best, taken, tried = operator, [], 0
    moved = True
    while moved and tried < tries:
        moved = False
        for name, neighbour in neighbours(best, price, most):
            if tried >= tries:
                break
            try:
                workload.check(neighbour)
                verdict = judge.verdict(neighbour)
            except EosError:
                continue
            tried += 1
            if verdict.of(slice(0, half)).surer(judge.verdict(best).of(slice(0, half)), ERRORS):
                best, moved = neighbour, True
                taken.append(name)
                break
    other = slice(half, None)
    if taken and judge.verdict(best).of(other).loss > judge.verdict(operator).of(other).loss:
        return operator, []
    return best, taken


def neighbours(operator: OperatorSpec, price: Price, most: float) -> Iterator[tuple[str, OperatorSpec]]:
    """Operators one discrete step away that cost no more than ``most``, with what is changed in words."""
    for name, sites in _changed(operator):
        try:
            made = OperatorSpec.model_validate({**dict(operator), "sites": sites})
        except ValidationError:
            continue
        fitted = at_price(made, price, most)
        if fitted is not None and fitted.sites != operator.sites:
            yield name, fitted


def _changed(operator: OperatorSpec) -> Iterator[tuple[str, tuple[SiteSpec, ...]]]:
    sites = operator.sites
    if not sites:
        return
    for number, site in enumerate(sites):
        where = f"site {number}"
        if number < len(sites) - 1 and _free(site):
            for shift in SHIFTS:
                yield f"{where}: tokens times {shift:g}", _with(sites, number, keep=max(1, round(shift * site.keep)))
        if site.selector == "diverse_topk":
            yield f"{where}: selector score", _with(sites, number, selector="score", spread=0.0)
            for factor in (0.6, 1.6):
                yield f"{where}: spread times {factor:g}", _with(sites, number, spread=factor * site.spread)
        elif site.selector == "score" and site.ranks:
            yield f"{where}: selector diverse_topk", _with(sites, number, selector="diverse_topk", spread=0.5)
        if site.transfer.gamma > 0 and 0 < site.transfer.tau < 100:
            kinds = (Support(), Support(kind="nearest", size=4), Support(kind="nearest", size=1))
            for support in kinds:
                if support != site.transfer.support and site.transfer.support.kind in ("all", "nearest"):
                    transfer = site.transfer.model_copy(update={"support": support})
                    yield (
                        f"{where}: support {support.kind} {support.size or ''}".rstrip(),
                        _with(sites, number, transfer=transfer),
                    )
    flipped = "renumber" if sites[0].positions == "keep" else "keep"
    if all(site.place == "decoder" for site in sites):
        yield f"positions {flipped}", tuple(site.model_copy(update={"positions": flipped}) for site in sites)
    for number, site in enumerate(sites):  # one round fewer
        if site.selector == "alternate" and number + 1 < len(sites) and sites[number + 1].layer == site.layer:
            yield f"site {number}: left out", sites[:number] + sites[number + 1 :]


def _with(sites: tuple[SiteSpec, ...], number: int, **changes: Any) -> tuple[SiteSpec, ...]:
    return (*sites[:number], sites[number].model_copy(update=changes), *sites[number + 1 :])


def _free(site: SiteSpec) -> bool:
    """Whether its count may be any."""
    return not site.important and not site.summary and site.transfer.support.kind != "overlap" and site.keep > 0


def at_price(operator: OperatorSpec, price: Price, most: float) -> OperatorSpec | None:
    """The operator with the counts of its last sites scaled until it costs just no more; None: there is none such.

    Rounds of pairs before the last site keep theirs.
    """
    sites = operator.sites
    first = next((n for n, site in enumerate(sites) if site.selector != "alternate"), len(sites) - 1)
    if not all(_free(site) for site in sites[first:]):
        return operator if price(operator) <= most else None

    def scaled(scale: float) -> OperatorSpec | None:
        made, before = list(sites[:first]), sites[first - 1].keep if first else operator.arriving
        for site in sites[first:]:
            before = min(before, max(1, int(scale * site.keep)))
            made.append(site.model_copy(update={"keep": before}))
        try:
            return OperatorSpec.model_validate({**dict(operator), "sites": tuple(made)})
        except ValidationError:
            return None

    low, high, best = 0.5, 2.0, None
    for _ in range(14):
        middle = (low + high) / 2
        tried = scaled(middle)
        if tried is None:  # too few for a round to halve to
            low = middle
        elif price(tried) <= most:
            low, best = middle, tried
        else:
            high = middle
    return best
