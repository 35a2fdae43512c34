"""Two operators beside each other in words: how far apart they are, which is better, and which design is nearest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from eos_platform.dashboards.app.parts import number

NEAR = math.log(1.25)  # of compute, so far that two operators are still compared
ALIKE = 0.02  # relative difference of compute that nobody pays for
Gap = tuple[float, float, float, float]  # difference in accuracy, its interval, p
HOW = "the most accurate design within 25 % of its compute, else the nearest in compute"


def nearest_design(operators: pd.DataFrame, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The hand-designed operator to hold one against (``HOW``); None where none is measured."""
    placed = operators["accuracy"].notna() & (operators["compute_ratio"] > 0)
    designed = operators[placed & (operators["family"] == "hand-designed")]
    if designed.empty or not row["compute_ratio"] > 0:
        return None
    apart = np.log(designed["compute_ratio"] / row["compute_ratio"]).abs()
    near = designed[apart <= max(NEAR, apart.min())].sort_values("accuracy")
    return {str(name): value for name, value in near.iloc[-1].to_dict().items()}


def difference(gap: Gap | None) -> str:
    """In points, with its interval."""
    return (
        "measured on different questions"
        if gap is None
        else f"{100 * gap[0]:+.1f} ({100 * gap[1]:+.1f} to {100 * gap[2]:+.1f})"
    )


def chance(gap: Gap | None) -> str:
    """The p-value."""
    return "" if gap is None else f"{gap[3]:.2g}"


def against_design(gap: Gap | None, design: Mapping[str, Any]) -> str:
    """A searched operator against its nearest design, in a line."""
    than = f"{design['name']}, compute {number(design['compute_ratio'])}"
    if gap is None:
        return f"{difference(gap)} ({than})"
    return f"{100 * gap[0]:+.1f} points ({100 * gap[1]:+.1f} to {100 * gap[2]:+.1f}), p {chance(gap)} ({than})"


def verdict(gap: Gap | None, first: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Which of two is better: in accuracy, where the interval says so, and in compute."""
    if gap is None:
        return ""
    costs = float(first["compute_ratio"]), float(other["compute_ratio"])
    more = other["name"] if gap[1] > 0 else first["name"] if gap[2] < 0 else None
    if abs(costs[0] - costs[1]) <= ALIKE * max(costs):
        return f"{more}, at the same compute" if more else "no significant difference, at the same compute"
    cheaper = (first if costs[0] < costs[1] else other)["name"]
    if more is None:
        return f"no significant difference in accuracy; {cheaper} is cheaper"
    return f"{more}, and cheaper" if more == cheaper else f"{more} more accurate, {cheaper} cheaper"
