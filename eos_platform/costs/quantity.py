"""Budgets as people write them: ``0.2``, ``20%``, ``8ms``, ``0.008 s``, ``20/s``, ``1.5MB``, ``20J``."""

from __future__ import annotations

import re

from eos_platform.common.errors import brief, did_you_mean
from eos_platform.costs.registry import COSTS
from eos_platform.protocols import Cost

UNITS = {  # by a cost's own unit: what may be written instead, and how much of it that is
    "": {"%": 0.01},
    "ms": {"us": 1e-3, "µs": 1e-3, "s": 1e3},
    "J": {"mJ": 1e-3, "kJ": 1e3},
    "tokens": {"token": 1.0},
    "bytes": {
        "byte": 1.0,
        "B": 1.0,
        "kB": 1e3,
        "KB": 1e3,
        "MB": 1e6,
        "GB": 1e9,
        "KiB": 2.0**10,
        "MiB": 2.0**20,
        "GiB": 2.0**30,
    },
}
RATE = "/s"  # of times: so many a second, such as answers
WRITTEN = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµ%/]*)")


def parse_quantity(text: str, cost: Cost) -> float:
    """A number in the cost's unit; without a unit it is in that one already.

    Raises:
        ValueError: it is no number with a unit, or not a unit of this cost; what would be right.
    """
    match = WRITTEN.fullmatch(text.strip())
    example = f"8{cost.unit}" if cost.unit else "0.2"
    if match is None:
        raise ValueError(
            f"expected a number{' with a unit' if cost.unit else ''} such as {example}, not '{_cut(text)}'"
        )
    number, unit = float(match[1]), match[2]
    if _is_rate(unit, cost) and number > 0:
        return 1000 / number
    factors = _factors(cost)
    if unit and unit not in factors:
        others = [name for name, other in COSTS.items() if unit in _factors(other) or _is_rate(unit, other)]
        if others:
            kind = f"in {cost.unit}" if cost.unit else "a ratio without a unit"
            raise ValueError(f"'{_cut(text)}' is of cost {others[0]}; cost {cost.name} is {kind}")
        known = [name for name in factors if name]
        raise ValueError(f"unknown unit '{_cut(unit)}' of cost {cost.name}{did_you_mean(unit, known)}")
    return number * factors.get(unit, 1.0)


def _is_rate(unit: str, cost: Cost) -> bool:
    return unit == RATE and cost.unit == "ms"


def shown_quantity(value: float, cost: Cost) -> str:
    """A value with its unit, as lines and tables show it."""
    if cost.unit == "bytes":
        for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
            if value >= size:
                return f"{value / size:.3g} {unit}"
    return f"{value:.3f}" if not cost.unit else f"{value:.4g} {cost.unit}"


def shown_cost(value: float, cost: Cost) -> str:
    """A value in words, with the cost's label before it: ``compute ratio 0.210``, ``prefill 8.1 ms``."""
    return f"{cost.label.removesuffix(f' {cost.unit}')} {shown_quantity(value, cost)}"


def _factors(cost: Cost) -> dict[str, float]:
    own = {cost.unit: 1.0} if cost.unit else {}
    return {**own, **UNITS.get(cost.unit, {})}


def _cut(text: str) -> str:
    return brief(text, 30)
