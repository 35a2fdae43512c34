"""A cost that can only be measured, fitted: from a few operators to any counts, differentiable in them.

A layer costs what its visual tokens cost, whatever the other layers see, so that an operator costs the mean over layers
of a curve, which is read off operators that leave the same count everywhere. The curve is made of straight pieces and
rises everywhere; every acting site after the first adds the same.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from eos_platform.costs.device.curve import rising
from eos_platform.costs.registry import measure
from eos_platform.costs.token_counts import stages
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import Cost, CostContext

SHARES = (0.0, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # of the tokens that arrive: where the curve is measured
ROUNDS = 3  # of all points in turn, of which the median counts: a machine that is busy for a while spoils one
Number = TypeVar("Number", float, Tensor)


class Fit(BaseModel):
    """The fitted form of a cost.

    Attributes:
        tokens: where the curve has its corners, rising.
        values: of the curve there, rising.
        unreduced: the cost of the model left alone.
        site: what every acting site after the first adds.
        layers: of the decoder.
        arriving: visual tokens before the first site.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tokens: tuple[float, ...] = Field(min_length=2)
    values: tuple[float, ...] = Field(min_length=2)
    unreduced: float
    site: float = Field(ge=0.0)
    layers: int
    arriving: int
    how: ClassVar[str] = "fitted"

    def curve(self, count: Number) -> Number:
        """The cost of an operator with one site that leaves ``count`` tokens to every layer."""
        total: Number = 0.0 * count + self.values[0]
        pieces = list(itertools.pairwise(zip(self.tokens, self.values, strict=True)))
        for number, ((low, below), (high, above)) in enumerate(pieces):
            # the outermost pieces go on beyond the corners
            least = None if number == 0 else low
            most = None if number == len(pieces) - 1 else high
            total = total + (above - below) / (high - low) * (_between(count, least, most) - low)
        return total

    def predict(self, operator: OperatorSpec | None) -> float:
        """The cost of a deployed operator."""
        if operator is None or not operator.sites:
            return self.unreduced
        total = sum(self.curve(float(count)) for count in operator.counts)
        return total / self.layers + self.site * (len(operator.sites) - 1)

    def relaxed(self, sites: Sequence[RelaxedSite], counts: Sequence[Tensor]) -> Tensor:
        """The cost of relaxed sites, differentiable in ``counts``; a later site's own cost fades as it removes less."""
        before, *after = stages(self.layers, sites)
        # made on the device: a copy from the host could not be captured
        total = torch.full((), before * self.curve(float(self.arriving)), device=counts[0].device if counts else None)
        for layers, count in zip(after, counts, strict=True):
            total = total + layers * self.curve(count)
        total = total / self.layers
        for earlier, later in itertools.pairwise(counts):
            gone = (earlier - later).clamp_min(0.0)
            total = total + self.site * gone / (gone + 1)
        return total


def points(arriving: int) -> list[int]:
    """Token counts at which a cost is measured, rising."""
    return sorted({max(1, min(arriving - 1, round(share * arriving))) for share in SHARES})


def fit(
    cost: Cost, context: CostContext, operator: Callable[[Sequence[int]], OperatorSpec], layers: Sequence[int]
) -> Fit:
    """Measure a few operators and fit the cost to them.

    Args:
        cost: has no relaxed form.
        operator: with these counts after the sites, of which those that remove nothing are left out.
        layers: of the sites.

    Raises:
        EosError: it cannot be measured here.
    """
    arriving, depth, sites = context.target.tokens, context.shape.layers, len(layers)
    counts = points(arriving)
    several = sites > 1 and arriving > 2 * sites
    every = operator([max(1, arriving // 2 - number * several) for number in range(sites)])
    operators = [None, every, *(operator((count,) * sites) for count in counts)]
    rounds = [[measure(cost, context, one) for one in operators] for _ in range(1 if cost.deterministic else ROUNDS)]
    unreduced, at_every, *measured = (statistics.median(fit_of) for fit_of in zip(*rounds, strict=True))
    # layers before the first site see all tokens, of which the last point has all but one
    first = layers[0]
    values = [(depth * value - first * measured[-1]) / (depth - first) for value in measured]
    fitted = Fit(
        tokens=tuple(map(float, counts)),
        values=tuple(rising(counts, values)),
        unreduced=unreduced,
        site=0.0,
        layers=depth,
        arriving=arriving,
    )
    more = (at_every - fitted.predict(every)) / max(1, len(every.sites) - 1)
    return fitted.model_copy(update={"site": max(0.0, more) if several else 0.0})


def _between(value: Number, least: float | None, most: float | None) -> Number:
    if isinstance(value, Tensor):
        return value if least is None and most is None else value.clamp(least, most)
    low = value if least is None else max(value, least)
    return low if most is None else min(low, most)
