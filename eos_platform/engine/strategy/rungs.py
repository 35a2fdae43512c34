"""When a search is worth going on with: asynchronous successive halving over several objectives, and the budget.

Pure decisions, no Ray and no store: ``Rungs`` is what every search had reached at each rung and says why one should
stop there, ``judge_budget`` why one cannot reach its budget. After MO-ASHA (Schmucker et al., arXiv 2106.12639).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from eos_platform.costs.quantity import shown_cost
from eos_platform.costs.registry import COMPUTE, COSTS
from eos_platform.engine.strategy.nondominated import TieBreak, best_first, layers
from eos_platform.objectives import DEFAULT
from eos_platform.objectives import losses as as_losses
from eos_platform.protocols import Objective, describe_values

Point = tuple[float, ...]  # by objective, of a deployed operator; NaN: unknown


class InterimEvaluation(NamedTuple):
    """One deployed evaluation on the way; NaN: unknown."""

    step: int
    values: Point
    dearest: float  # the larger cost (by default compute ratio) of the deployed operator's and the relaxed form's


LATEST = 0.9  # a rung at so late a share of a search would save nothing


def rung_levels(grace: int, reduction: float, steps: int) -> list[int]:
    """The steps at which a search of ``steps`` is compared with others: grace, grace x reduction, ..."""
    levels, level = [], float(grace)
    while level <= LATEST * steps:
        levels.append(round(level))
        level *= reduction
    return levels


def survivors(n: int, reduction: float) -> int:
    """How many of the ``n`` that reached a rung may go on."""
    return max(1, math.ceil(n / reduction - 1e-9))


@dataclass
class Rungs:
    """What every search had reached at every rung. A search is known by the first trial of its chain of retries."""

    reduction: float
    least: int  # results a rung needs before it stops anyone
    tie_break: TieBreak = "epsilon-net"
    spare_front: bool = True
    objectives: Sequence[Objective] = DEFAULT
    reached: dict[int, dict[int, Point]] = field(default_factory=dict)  # level -> search -> point

    def record(self, level: int, search: int, point: Point) -> None:
        """A search came to a rung; one that comes again (after its worker or driver died) takes its old place."""
        self.reached.setdefault(level, {})[search] = point

    def judge(self, level: int, search: int) -> str | None:
        """Why ``search`` should stop at the rung it has been recorded at, or None when it may go on."""
        points = self.reached[level]
        if len(points) < max(2, self.least):
            return None
        keys = sorted(points)
        losses_nm = np.array([as_losses(self.objectives, points[key]) for key in keys])
        here = keys.index(search)
        layer_n = layers(losses_nm)
        if self.spare_front and layer_n[here] == 0 and not np.isnan(losses_nm[here]).any():
            return None
        rank = best_first(losses_nm, keys, self.tie_break).index(here)
        allowed = survivors(len(keys), self.reduction)
        if rank < allowed:
            return None
        mine = points[search]
        if any(map(math.isnan, mine)):
            what = f"its {' or '.join(one.label for one in self.objectives)} is not a number"
        elif layer_n[here]:
            by = (losses_nm[here] >= losses_nm).all(1) & (losses_nm[here] > losses_nm).any(1)
            _, better = min((losses_nm[row, 1], keys[row]) for row in np.flatnonzero(by))
            theirs, *others = (one.show(value) for one, value in zip(self.objectives, points[better], strict=True))
            what = f"{self._said(mine)} is dominated, by trial {better}'s {theirs} at {', '.join(others)} for one"
        else:
            what = f"{self._said(mine)} is too like others of the front"
        return f"step {level}: rank {rank + 1} of {len(keys)}, {allowed} go on; {what}"

    def _said(self, point: Point) -> str:
        return describe_values(self.objectives, dict(zip((one.metric for one in self.objectives), point, strict=True)))


def judge_budget(
    course: Iterable[InterimEvaluation],
    budget: float,
    last: int,
    *,
    cost: str = COMPUTE,
    tolerance: float = 0.02,
    haste: float = 2.0,
) -> str | None:
    """Why a search cannot reach its budget, or None while it still may.

    Args:
        course: the evaluations so far, in order.
        budget: value of the cost to reach.
        last: the step by which it must be reached.
        cost: that it is about.
        tolerance: relative excess that deployment makes good.
        haste: how much faster than ever before it may yet fall: the penalty grows.
    """
    known = [(seen.step, seen.dearest) for seen in course if math.isfinite(seen.dearest)]
    if len(known) < 3:
        return None
    step, ratio = known[-1]
    if ratio <= budget * (1 + tolerance) or step >= last:
        return None
    falls = [
        (before - after) / (later - earlier)
        for (earlier, before), (later, after) in itertools.pairwise(known)
        if later > earlier
    ]
    fastest = max([0.0, *falls])
    if ratio - haste * fastest * (last - step) <= budget * (1 + tolerance):
        return None
    return (
        f"step {step}: {shown_cost(ratio, COSTS.get_named(cost))} cannot come down to the budget {budget:g} in "
        f"{last - step} steps; "
        f"it never fell faster than {fastest:.2g} a step"
    )


def rungs_of(course: Iterable[InterimEvaluation], levels: Sequence[int]) -> dict[int, Point]:
    """The rungs a search has come to: each at the first evaluation at or after it, the highest where one meets two."""
    points: dict[int, Point] = {}
    before = 0
    for seen in sorted(course):
        passed = [level for level in levels if before < level <= seen.step]
        if passed:
            points[passed[-1]] = seen.values
        before = max(before, seen.step)
    return points
