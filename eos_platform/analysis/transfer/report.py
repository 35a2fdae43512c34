"""A matrix in words: what was measured, the tables, what could not be, and what told beforehand that it would work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from eos_platform.analysis.transfer.matrix import predictors, table
from eos_platform.analysis.transfer.plan import ANEW, WAYS, Settings, places_by_name
from eos_platform.common.printable import printable

LONG = 200  # characters of a place: with options and a device they are long
GOOD = 0.95  # share kept that people ask for
COST_FORMATS = (".1%", ",.0f", ".1f")


def summary(rows: pd.DataFrame) -> list[str]:
    """A sentence a way: how many cells keep so much, the median, the worst."""
    lines = []
    for way, words in WAYS.items():
        some = rows[rows["kind"] == way].dropna(subset=["kept"])
        kept = some["kept"]
        if len(kept):
            place = some.sort_values("kept").iloc[0]
            lines.append(
                f"{way} ({words}): {int((kept >= GOOD).sum())} of {len(kept)} keep at least {GOOD:.0%} of what a search"
                f" anew reaches; median {kept.median():.1%}, worst {kept.min():.1%} ({place['source']} on"
                f" {place['place']} at {place['budget']:g})"
            )
    return lines


def costs(rows: pd.DataFrame) -> pd.DataFrame:
    """Medians over cells of what each way takes: ``way``, ``cells``, ``kept``, ``prompts``, ``seconds``."""
    found = [
        (kind, len(some), some["kept"].median(), some["prompts"].median(), some["seconds"].median())
        for kind in (*WAYS, ANEW)
        if len(some := rows[rows["kind"] == kind])
    ]
    return pd.DataFrame(found, columns=["way", "cells", "kept", "prompts", "seconds"])


def markdown(settings: Settings, records: Mapping[str, Mapping[str, Any]]) -> str:
    """The report."""
    rows = table(records, places=list(places_by_name(settings)))
    lines = ["# Transfer between models and tasks", ""]
    lines += [
        f"{settings.questions:,} held-out questions a cell, deployed; searches anew take {settings.steps} steps, "
        f"adaptation {settings.adapt_steps}; seeds: {settings.seeds}. Kept: accuracy over that of the search anew at "
        "the same place and budget, with its 95 % interval (questions resampled, paired). *: costs more than the "
        "budget.",
        "",
        *(f"- {line}" for line in summary(rows)),
    ]
    own = rows.dropna(subset=["predicted"])
    if len(own):
        lines += [
            "",
            "Budgets: shares of what the unreduced model costs, in compute, or in the cost that a place names.",
        ]
    for budget in sorted(rows["budget"].unique(), reverse=True):
        here = rows[rows["budget"] == budget]
        heading = "Budget" if len(own) else "Compute ratio"
        lines += ["", f"## {heading} {budget:g}", "", *_grid(here, settings)]
    if len(own):
        lines += ["", "## Costs", "", *_costs_of(own)]
    lines += [
        "",
        "## What it takes",
        "",
        "Medians over cells. Prompts: run through the model to get there, each time.",
        "",
    ]
    lines += _markdown(
        ("way", "cells", "kept", "prompts", "s"),
        [
            (row["way"], str(row["cells"]), *map(_known, (row["kept"], row["prompts"], row["seconds"]), COST_FORMATS))
            for row in costs(rows).to_dict("records")
        ],
    )
    told = predictors(records, rows)
    if len(told):
        lines += ["", "## Predictors", "", "Spearman's rank correlation with the share of accuracy kept.", ""]
        lines += _markdown(
            ("way", "fact", "rho", "p", "cells"),
            [
                (row["way"], row["fact"], f"{row['rho']:+.2f}", f"{row['p']:.2g}", str(row["cells"]))
                for row in told.to_dict("records")
            ],
        )
    refused = [one for one in records.values() if one["status"] != "measured"]
    if refused:
        lines += ["", "## Not possible", ""]
        lines += [
            f"- {one['source']} on {one['place']} at {one['budget']:g}, {one['kind']}: {printable(one['reason'])}"
            for one in refused
        ]
    return "\n".join(lines) + "\n"


def _grid(here: pd.DataFrame, settings: Settings) -> list[str]:
    """Rows: operators by where they are from and how they came; columns: places."""
    places = list(dict.fromkeys(here["place"]))
    body = []
    for kind in (ANEW, *settings.ways):
        some = here[here["kind"] == kind]
        for source in ["the place itself"] if kind == ANEW else list(dict.fromkeys(some["source"])):
            cells = []
            for place in places:
                at = some[some["place"] == place]
                at = at if kind == ANEW else at[at["source"] == source]
                cells.append(_cell(at.iloc[0], kind) if len(at) else "")
            body.append((kind, printable(str(source), LONG), *cells))
    unreduced = [f"{here[here['place'] == place]['unreduced'].iloc[0]:.1%}" for place in places]
    return _markdown(("how", "from", *places), [("unreduced", "", *unreduced), *body])


COSTS_HEADS = (
    "how", "from", "on", "budget", "cost", "allowed", "predicted", "share", "measured", "share measured", "fits",
    "accuracy", "kept",
)  # fmt: skip


def _costs_of(own: pd.DataFrame) -> list[str]:
    """Cells of places with a cost of their own: what was allowed, what the operator takes, and what it answers."""
    body = []
    for row in own.to_dict("records"):
        fits = "yes" if row["predicted"] <= row["allowed"] * (1 + 1e-9) else "no"
        amounts = (_known(row[name], ".4g") for name in ("allowed", "predicted"))
        share = row["measured"] / row["unreduced_measured"]
        body.append(
            (
                str(row["kind"]), printable(str(row["source"]), LONG), printable(str(row["place"]), LONG),
                f"{row['budget']:g}", str(row["cost"]), *amounts, _known(row["share"], ".3f"),
                _known(row["measured"], ".4g"), _known(share, ".3f"), fits, f"{row['accuracy']:.1%}",
                _known(row["kept"], ".1%"),
            )
        )  # fmt: skip
    return [
        "Fits: as predicted. Measured where the place's device was the one that this ran on.",
        "",
        *_markdown(COSTS_HEADS, body),
    ]


def _known(value: float, form: str) -> str:
    """A number as it is shown; nothing where it is not known."""
    return "" if math.isnan(value) else format(value, form)


def _cell(row: pd.Series, kind: str) -> str:
    over = " *" if row["share"] > row["budget"] * (1 + 1e-9) else ""  # only what is unchanged can be
    if kind == ANEW or math.isnan(row["kept"]):
        return f"{row['accuracy']:.1%}{over}"
    return f"{row['accuracy']:.1%} = {row['kept']:.1%} ({row['low']:.1%} to {row['high']:.1%}){over}"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(heads) + " |",
        "|" + " --- |" * len(heads),
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
    ]
