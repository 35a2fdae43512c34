"""Records as a table: one row an operator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eos_platform.analysis.comparison.measure import Record
from eos_platform.analysis.stats.bitpack import unpack
from eos_platform.analysis.stats.intervals import interval
from eos_platform.common import strict_json

PLAIN = (
    "name",
    "family",
    "variant",
    "design",
    "ratio",
    "seed",
    "accuracy",
    "compute_ratio",
    "mean_tokens",
    "tokens_left",
    "regime",
    "questions",
    "flops",
    "counted_flops",
    "whole_model_ratio",
    "prefill_ms",
    "memory_mb",
    "samples",
    "validation",
    "seconds",
)
NUMBERS = tuple(name for name in PLAIN if name not in ("name", "family", "variant", "design", "regime"))
COLUMNS = (*PLAIN, "counted_ratio", "accuracy_low", "accuracy_high", "knobs", "tuning_accuracy", "trial", "key")


def points_of(records: Iterable[Record]) -> pd.DataFrame:
    """What was measured, the unreduced model first, then by falling ratio; ``correct`` holds the answers' scores.

    Skills are columns ``skill:<name>``, further costs ``cost:<name>``. Of operators for the same place in the plan (a
    design at a ratio tuned once more, with other settings), the latest counts.
    """
    latest: dict[tuple[Any, ...], Record] = {}
    for record in records:
        if record["status"] == "measured":
            place = tuple(record[name] for name in ("family", "variant", "design", "ratio", "seed"))
            # of searched operators all are results
            latest[(*place, record["key"] if record["family"] == "searched" else "")] = record
    points = pd.DataFrame([_row(record) for record in latest.values()])
    if points.empty:
        return pd.DataFrame(columns=[*COLUMNS, "correct"])
    points[list(NUMBERS)] = points[list(NUMBERS)].apply(pd.to_numeric).astype(float)
    whole = points.loc[points["family"] == "unreduced", "counted_flops"]
    points["counted_ratio"] = points["counted_flops"] / (whole.iloc[0] if len(whole) else np.nan)
    order = {"unreduced": 0, "searched": 1, "hand-designed": 2}
    rank = points["family"].map(order)
    ratio = points["ratio"].fillna(np.inf)
    points = points.assign(_rank=rank, _ratio=-ratio, _gain=-points["accuracy"])
    points = points.sort_values(["_ratio", "_rank", "_gain"], kind="stable", ignore_index=True)
    points = points.drop(columns=["_rank", "_ratio", "_gain"])
    first = points["family"] == "unreduced"
    return pd.concat([points[first], points[~first]], ignore_index=True)


def _row(record: Record) -> dict[str, Any]:
    correct = unpack(record["correct"], record["questions"])
    low, high = interval(correct)
    return {
        **{name: record.get(name) for name in PLAIN},
        "accuracy_low": low,
        "accuracy_high": high,
        "knobs": strict_json.dumps(record["knobs"]) if record["knobs"] else "",
        "tuning_accuracy": record.get("tuning", {}).get("accuracy"),
        "trial": None,
        "key": record["key"],
        **{f"skill:{skill}": share for skill, share in record["per_skill"].items()},
        **{f"cost:{name}": value for name, value in record.get("costs", {}).items()},
        "correct": correct,
    }


def unreachable_of(records: Iterable[Record]) -> pd.DataFrame:
    """What has no result, and why: name, design, variant, ratio, reason."""
    rows = [record for record in records if record["status"] != "measured"]
    return pd.DataFrame(rows, columns=["name", "design", "variant", "ratio", "reason"])


def skills(points: pd.DataFrame) -> list[str]:
    """Names of the skills measured."""
    return [str(column).removeprefix("skill:") for column in points.columns if str(column).startswith("skill:")]


def costs(points: pd.DataFrame) -> list[str]:
    """Names of the further costs taken."""
    return [str(column).removeprefix("cost:") for column in points.columns if str(column).startswith("cost:")]


def answers(points: pd.DataFrame, row: Any) -> NDArray[Any]:
    """What the answers of one row of ``points`` are worth, by its label: bool where all are right or wrong."""
    packed: NDArray[Any] = points["correct"].loc[row]
    return packed


def best_searched(points: pd.DataFrame, ratio: float) -> Any | None:
    """The label of the searched operator to speak for its ratio: the best on validation questions, not on these."""
    rows = points[(points["family"] == "searched") & (points["ratio"] == ratio)]
    if rows.empty:
        return None
    return rows["validation"].fillna(rows["accuracy"]).idxmax()


def for_csv(points: pd.DataFrame) -> pd.DataFrame:
    """Without the columns that are no use in a spreadsheet."""
    return points.drop(columns=["correct", "trial"])
