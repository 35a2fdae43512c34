"""Which tokens were kept on the example pictures, as a table for the figure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from eos_platform.analysis.comparison.measure import Record
from eos_platform.analysis.comparison.points import answers, best_searched
from eos_platform.operators.designs import DESIGNS


def verdict(score: float) -> str:
    """What an answer is worth, in a word."""
    return {0.0: "wrong", 1.0: "right"}.get(float(score), f"worth {score:.2f}")


COLUMNS = ("column", "ratio", "picture", "origin", "size", "caption")


def kept_of(
    records: Iterable[Record], points: pd.DataFrame, examples: list[dict[str, Any]], variant: str
) -> pd.DataFrame:
    """One row an operator, ratio and picture: the tokens there after the last site (``COLUMNS``).

    Args:
        records: what was measured.
        points: the same as ``points_of`` makes it.
        examples: the pictures, of the comparison's header.
        variant: of the hand-designed operators to show; each ratio's chosen searched one stands before them.
    """
    known = {record["key"]: record for record in records if record.get("kept")}
    rows = []
    for ratio in sorted(points["ratio"].dropna().unique(), reverse=True):
        best = best_searched(points, ratio)
        here = [] if best is None else [("searched", best)]
        mine = (points["family"] == "hand-designed") & (points["ratio"] == ratio) & (points["variant"] == variant)
        here += [(f"{design}, {variant}", label) for label, design in points.loc[mine, "design"].items()]
        for column, label in here:
            record = known.get(str(points.at[label, "key"]))
            if record is None:
                continue
            for picture, (example, sites) in enumerate(zip(examples, record["kept"], strict=False)):
                if sites:
                    worth = answers(points, label)[example["question"]]
                    left = len(sites[-1]["origin"])
                    rows.append(
                        {
                            "column": column,
                            "ratio": ratio,
                            "picture": picture,
                            "origin": sites[-1]["origin"],
                            "size": sites[-1]["size"],
                            "caption": f"{left} left, {verdict(worth)}",
                        }
                    )
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    # the designs in one order, whichever came first at the largest ratio
    order = {name: place for place, name in enumerate(["searched", *(f"{name}, {variant}" for name in DESIGNS)])}
    return frame.sort_values(
        ["ratio", "column"],
        key=lambda values: -values if values.name == "ratio" else values.map(lambda name: order.get(name, len(order))),
        kind="stable",
        ignore_index=True,
    )
