"""The last step of a search whose cost is measured: counts are scaled until the measured cost meets the budget.

Whole counts are chosen by a fit or by a device profile, which is some per cent off, and a machine drifts. Where the
device is there, the operator is measured; if it misses the budget, the predicted cost that is aimed at is corrected by
as much, within what was measured above and below the budget so far, and the operator with those counts measured again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from eos_platform.common.errors import EosError
from eos_platform.costs.quantity import shown_cost
from eos_platform.operators.rescale import scaled
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import Cost
from eos_platform.search.spent import Spent
from eos_platform.tasks.together import group

MET = 0.03  # of the budget: as near as measuring twice comes
TRIES = 6  # operators measured, the one that was searched among them
TIMES = 3  # that each is measured, of which the median counts
WHOLE = 1024  # a scale of 1
MOST = 4 * WHOLE


class Measured(Protocol):
    """A cost that can be predicted and measured (``search.cost.SearchCost``)."""

    @property
    def cost(self) -> Cost: ...
    def deployed(self, operator: OperatorSpec) -> float: ...
    def spent(self, operator: OperatorSpec, budget: float, times: int = 1) -> Spent: ...


@dataclass(frozen=True)
class Met:
    """An operator whose cost is known.

    Attributes:
        scale: of its counts, relative to those that were searched, in parts of ``WHOLE``.
        remarks: what was done, in words; empty where nothing was.
    """

    operator: OperatorSpec
    spent: Spent
    scale: int = WHOLE
    remarks: tuple[str, ...] = ()


def meet(cost: Measured, operator: OperatorSpec, budget: float, scale: int | None = None) -> Met:
    """The operator with its counts scaled such that its measured cost is within ``MET`` of the budget, or as near as
    ``TRIES`` measurements bring it; unchanged where the cost is computed, or predicted for another device.

    Of several processes the first measures.

    Args:
        scale: found by an earlier call, instead of searching for one.
    """
    here = group()
    met = (_again(cost, operator, budget, scale) if scale else _meet(cost, operator, budget)) if here.first else None
    met = here.of_first(met)
    assert met is not None
    return met


def _again(cost: Measured, operator: OperatorSpec, budget: float, scale: int) -> Met:
    made = _scaled(operator, scale)
    return Met(made, cost.spent(made, budget, TIMES), scale)


def _meet(cost: Measured, operator: OperatorSpec, budget: float) -> Met:
    first = now = best = _again(cost, operator, budget, WHOLE)
    if first.spent.source != "measured" or not operator.sites:
        return first
    aim, low, high, seen = cost.deployed(operator), 0.0, math.inf, {operator.counts}
    while abs(best.spent.miss) > MET and len(seen) < TRIES:
        low, high = (low, min(high, aim)) if now.spent.miss > 0 else (max(low, aim), high)
        wanted = aim / (1 + now.spent.miss)
        # the two may cross where what is measured scatters
        aim = wanted if low < wanted < high or not low < high < math.inf else (low + high) / 2
        try:
            scale = _largest(cost, operator, aim)
        except EosError:  # it acts in the vision tower, whose counts are the model's own
            break
        tried = _scaled(operator, scale)
        if tried.counts in seen:
            break
        seen.add(tried.counts)
        now = _again(cost, operator, budget, scale)
        best = min(best, now, key=lambda one: abs(one.spent.miss))
    if best is first:
        return first
    side = "above" if first.spent.miss > 0 else "below"
    said = (
        f"counts scaled by {best.scale / WHOLE:.3f} to meet the budget as measured: as searched, the operator took"
        f" {shown_cost(first.spent.value, cost.cost)}, {abs(first.spent.miss):.0%} {side} it"
    )
    return Met(best.operator, best.spent, best.scale, (said,))


def _scaled(operator: OperatorSpec, scale: int) -> OperatorSpec:
    return operator if scale == WHOLE else scaled(operator, Fraction(scale, WHOLE))


def _largest(cost: Measured, operator: OperatorSpec, aim: float) -> int:
    """The largest scale that is predicted to cost no more, 1 at least."""
    low, high = 1, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost.deployed(_scaled(operator, middle)) <= aim else (low, middle)
    return low
