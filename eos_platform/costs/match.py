"""Hand-designed operators at a compute ratio somebody else reached: comparisons are fair at equal compute only."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from eos_platform.common.errors import EosError
from eos_platform.costs.flops import DecoderShape, compute_ratio
from eos_platform.operators.designs import Design, get_design
from eos_platform.operators.designs.base import Value
from eos_platform.operators.spec import OperatorSpec, Target


def match(
    design: Design | str, ratio: float, target: Target, shape: DecoderShape, text_tokens: int, **knobs: Value
) -> OperatorSpec:
    """The design at the largest number of tokens that costs no more than ``ratio``.

    Args:
        design: it, or its name.
        ratio: compute ratio not to be exceeded.
        target: the model.
        shape: of its decoder.
        text_tokens: tokens that are not visual.
        knobs: the design's hyperparameters, by name.

    Raises:
        EosError: an impossible knob, even its cheapest form costs more, or ``ratio`` is not a positive number.
    """
    design = get_design(design) if isinstance(design, str) else design
    if not ratio > 0:
        raise EosError(f"a compute ratio to match must be above 0, got {ratio}")
    try:
        return largest(design, ratio, target, lambda operator: compute_ratio(operator, shape, text_tokens), **knobs)
    except TooDear as error:
        raise EosError(
            f"design '{design.name}' cannot reach compute ratio {ratio:g} here: {error.least:.4f} is the smallest it"
            " has"
        ) from None


class TooDear(EosError):
    """Even the cheapest form of a design costs more than what is to be matched."""

    def __init__(self, design: str, least: float) -> None:
        super().__init__(f"design '{design}' costs at least {least:.4g} here")
        self.least = least


def largest(
    design: Design, most: float, target: Target, price: Callable[[OperatorSpec], float], **knobs: Value
) -> OperatorSpec:
    """The design at the largest number of tokens whose price is at most ``most``.

    Args:
        design: the design.
        most: price not to be exceeded.
        target: the model.
        price: of an operator; never falls as tokens are added, but where fewer rounds do.
        knobs: the design's hyperparameters, by name.

    Raises:
        EosError: an impossible knob.
        TooDear: its cheapest form costs more.
    """
    layers, everything = target.layers, target.tokens * target.layers

    @cache
    def built(total: int) -> tuple[OperatorSpec, float]:
        """For a mean of total / layers: any mean is such a fraction."""
        operator = design.build(target, total / layers, **knobs)
        return operator, float(price(operator))

    def fits(total: int) -> bool:
        return built(total)[1] <= most

    def between(low: int, high: int) -> int:
        """Between one that fits and one that does not."""
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    if fits(everything):
        return built(everything)[0]
    best = layers * design.least(target)  # of most designs one token
    if not design.fixed:
        best = between(best, everything) if fits(best) else best
        # more tokens can take fewer rounds and so cost a little less: look a few tokens further
        for total in range(min(everything, best + layers * max(16, target.tokens // 32)), best, -layers):
            if fits(total):
                best = between(total, min(everything, total + layers))
                break
    operator, cost = built(everything if design.fixed else best)
    if cost > most:
        raise TooDear(design.name, cost)
    return operator
