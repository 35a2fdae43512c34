"""What ``never_worse`` measured, as tables: by model and ratio, by skill, and every number."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import pandas as pd

GROUPS = {
    "counting": ("counting",),
    "charts": ("value", "extreme", "higher", "difference"),
    "small text": ("word", "title", "entry", "cell"),
    "two places": ("relation", "nearest", "same", "size", "best", "rows", "search"),
}


def frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A line for each search, design and unreduced model: what was asked for, what came of it, accuracy by skill."""
    lines = []
    for row in rows:
        same = {name: row[name] for name in ("model", "kind", "ratio", "seed", "questions")}
        if row["kind"] == "designs":
            lines += [
                same | {name: one[name] for name in ("design", "tuned", "validation", "heldout")} | _by_group(one)
                for one in row["designs"]
            ]
            continue
        known: dict[str, Any] = {
            name: row[name] for name in ("heldout", "validation", "relaxed", "compute_ratio", "start") if name in row
        }
        if "seconds" in row:
            known["seconds"] = round(row["seconds"], 1)
        lines.append(same | known | _by_group(row))
    return pd.DataFrame(lines)


def _by_group(row: dict[str, Any]) -> dict[str, float]:
    """The mean over a group's skills, and the compression-sensitive subset."""
    known = row["skills"]
    found = {name: [known[one] for one in members if one in known] for name, members in GROUPS.items()}
    means = {name: round(statistics.fmean(values), 4) for name, values in found.items() if values}
    return means | {"detail": round(known["detail"], 4)} if "detail" in known else means


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Per model and ratio: unreduced, searched mean and worst, with one start alone, best design."""
    whole = {row["model"]: row["heldout"] for row in rows if row["kind"] == "unreduced"}
    lines = [
        f"{'model':18}{'ratio':>6}{'whole':>7}{'portfolio':>11}{'worst':>7}{'single':>8}{'worst':>7}"
        f"{'published':>11}{'tuned':>7}  {'s':>5}{'s one':>6}  design / starts"
    ]
    for model, ratio in dict.fromkeys((row["model"], row["ratio"]) for row in rows if row["kind"] != "unreduced"):
        here = [row for row in rows if (row["model"], row["ratio"]) == (model, ratio)]
        line = f"{model:18}{ratio:>6g}{_percent([whole[model]] if model in whole else []):>7}"
        for kind, width in (("portfolio", 11), ("single", 8)):
            found = [row["heldout"] for row in here if row["kind"] == kind]
            line += f"{_percent(found):>{width}}{_percent(found and [min(found)]):>7}"
        asked = [one for row in here if row["kind"] == "designs" for one in row["designs"]]
        for changed, width in ((False, 11), (True, 7)):
            found = [one["heldout"] for one in asked if changed or not one["tuned"]]
            line += f"{_percent(found and [max(found)]):>{width}}"
        for kind, width in (("portfolio", 7), ("single", 6)):
            found = [row["seconds"] for row in here if row["kind"] == kind]
            line += f"{statistics.fmean(found) if found else 0:>{width}.0f}"
        best = max(asked, key=lambda one: one["heldout"], default={"design": "-"})["design"]
        starts = ",".join(row["start"] for row in here if row["kind"] == "portfolio")
        lines.append(f"{line}  {best} / {starts}")
    return "\n".join(lines)


def skills(rows: Sequence[dict[str, Any]]) -> str:
    """Accuracy by skill: unreduced, searched (mean), best design; models and ratios in turn."""
    lines = []
    for model, ratio in dict.fromkeys((row["model"], row["ratio"]) for row in rows if row["kind"] == "portfolio"):
        here = [row for row in rows if (row["model"], row["ratio"]) == (model, ratio)]
        found = [row["skills"] for row in here if row["kind"] == "portfolio"]
        asked = [one for row in here if row["kind"] == "designs" for one in row["designs"]]
        best: dict[str, float] = max(asked, key=lambda one: one["heldout"], default={"skills": {}})["skills"]
        whole: dict[str, float] = next(
            (row["skills"] for row in rows if (row["model"], row["kind"]) == (model, "unreduced")), {}
        )
        parts = []
        for name in found[0]:
            three = (whole.get(name), statistics.fmean(one[name] for one in found), best.get(name))
            parts.append(f"{name} " + "/".join("-" if value is None else f"{100 * value:.0f}" for value in three))
        lines.append(f"{model} {ratio:g} (unreduced/searched/design): " + ", ".join(parts))
    return "\n".join(lines)


def _percent(values: Sequence[float]) -> str:
    return f"{100 * statistics.fmean(values):.1f}" if values else "-"
