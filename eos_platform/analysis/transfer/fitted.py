"""An operator brought to another place at a budget: rescaled to its model, its counts scaled until it just fits."""

from __future__ import annotations

from fractions import Fraction

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.target import absent_of, parts_of
from eos_platform.operators.rescale import rescale, scaled
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.cost import SearchCost
from eos_platform.tasks.base import FROM_TOWER, Subject

STEPS = 1024  # a factor's denominator


def fitted(operator: OperatorSpec, place: Subject, cost: SearchCost, budget: float) -> tuple[OperatorSpec, list[str]]:
    """``operator`` for the model of ``place`` at the most tokens that ``budget`` allows, and what was changed.

    Raises:
        EosError: a site has no place in the model, or even the fewest tokens cost more.
    """
    parts = parts_of(place.model)
    one_axis = parts.family is None or parts.family.axes == 1
    absent = sorted({*absent_of(parts), *(name for name in FROM_TOWER if name not in place.features)})
    same = operator.target == place.target
    done = rescale(operator, place.target, probes=same, positions=one_axis, absent=absent)
    made, changes = done.operator, list(done.changes)
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
