"""An operator brought to another place at a budget: rescaled to its model, its counts scaled until it just fits."""

from __future__ import annotations

from fractions import Fraction

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.target import absent_of, parts_of
from eos_platform.operators.rescale import rescale, scaled
from eos_platform.operators.site import SCORED
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.cost import SearchCost
from eos_platform.search.starts.structure import CLOSER
from eos_platform.tasks.base import FROM_TOWER, Subject

STEPS = 1024  # a factor's denominator
LEARNED = ("score", "probe", "steering")  # of a site, whatever its counts


def rescaled(operator: OperatorSpec, place: Subject) -> tuple[OperatorSpec, list[str]]:
    """``operator`` for the model of ``place`` with the shares that it has, and what was changed.

    Learned directions stay where only the size of the pictures is another: the hidden space is the same.

    Raises:
        EosError: a site has no place in the model.
    """
    parts, old, new = parts_of(place.model), operator.target, place.target
    one_axis = parts.family is None or parts.family.axes == 1
    absent = sorted({*absent_of(parts), *(name for name in FROM_TOWER if name not in place.features)})
    same = old == new or (bool(new.model) and old.of_grid(new.axes) == new)
    done = rescale(operator, new, probes=same, positions=one_axis, absent=absent)
    return done.operator, list(done.changes)


def fitted(operator: OperatorSpec, place: Subject, cost: SearchCost, budget: float) -> tuple[OperatorSpec, list[str]]:
    """``operator`` for the model of ``place`` at the most tokens that ``budget`` allows, and what was changed.

    Raises:
        EosError: a site has no place in the model, or even the fewest tokens cost more.
    """
    made, changes = rescaled(operator, place)
    if not made.sites:
        return made, changes

    def at(numerator: int) -> OperatorSpec:
        return scaled(made, Fraction(numerator, STEPS))

    def fits(numerator: int) -> bool:
        return cost.deployed(at(numerator)) <= budget

    low, high = 1, STEPS
    if not fits(low):
        raise EosError(f"operator '{operator.name}': even its fewest tokens cost more than {budget:g} on {place.name}")
    everything = STEPS * place.target.tokens
    while high < everything and fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    result = at(low)
    place.check(result)
    if result.counts != made.counts:
        changes.append(f"counts x {low / STEPS:.3f}, to cost {budget:g} as the place has it")
    return result, changes


def within(
    operator: OperatorSpec,
    plain: OperatorSpec,
    original: OperatorSpec,
    place: Subject,
    cost: SearchCost,
    budget: float,
) -> OperatorSpec:
    """With directions an operator costs a little more than ``plain``: fewer tokens, until it fits again."""
    for _ in range(8):
        over = cost.deployed(operator) - budget
        if over <= 0:
            return operator
        # below what it costs now, not below the last aim: what is over may be less than a token costs
        plain = fitted(original, place, cost, cost.deployed(plain) - CLOSER * over)[0]
        sites = tuple(
            type(site).model_validate({**fewer.model_dump(), **{name: getattr(site, name) for name in LEARNED}})
            for site, fewer in zip(operator.sites, plain.sites, strict=True)
        )
        operator = type(operator).model_validate({**operator.model_dump(), "sites": sites})
    raise EosError(f"operator '{operator.name}': with its directions it does not fit {budget:g} on {place.name}")


def filled(operator: OperatorSpec, place: Subject, cost: SearchCost, budget: float) -> OperatorSpec:
    """With the single tokens that a common factor on all counts left over, the first sites' first.

    Only sites whose selector can keep any number of tokens get more.
    """
    sites, arriving = list(operator.sites), operator.arriving
    for number, site in enumerate(sites):
        free = site.selector in SCORED and not site.important and not site.summary and site.quota is None
        while free and sites[number].keep + 1 < arriving:
            more = sites[number].model_copy(update={"keep": sites[number].keep + 1})
            tried = operator.model_copy(update={"sites": (*sites[:number], more, *sites[number + 1 :])})
            if cost.deployed(tried) > budget:
                break
            sites[number] = more
        arriving = sites[number].keep
    made = type(operator).model_validate({**operator.model_dump(), "sites": tuple(sites)})
    place.check(made)
    return made
