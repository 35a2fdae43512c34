"""The first page: every study and comparison of the store."""

from __future__ import annotations

import time
from typing import Any

import dash
import pandas as pd
from dash import Input, Output, State, dcc, html

from eos_platform.dashboards.app.address import link
from eos_platform.dashboards.app.parts import percent, plain_table
from eos_platform.dashboards.app.parts import shown as figure_part

COLUMNS = (
    "study",
    "description",
    "model",
    "state",
    "trials",
    "operators",
    "on the front",
    "best accuracy",
    "last change",
)


def layout() -> list[Any]:
    """The page."""
    return [html.Div(html.P("Loading the studies …", className="note working"), id="listing")]


def register(app: dash.Dash, studies: Any) -> None:
    """Its callback."""

    @app.callback(
        Output("listing", "children"),
        Input("at-studies", "data"),
        Input("theme", "data"),
        State("where", "data"),
        prevent_initial_call=True,
    )
    def _list(at: dict[str, Any] | None, theme: str | None, where: dict[str, Any] | None) -> Any:
        if not at or not where or where["study"]:
            return dash.no_update
        listing = studies.listing()
        if listing.empty:
            return html.P(["Nothing here yet. Run a study: ", html.Code("eos study run quickstart")], className="note")
        lines = [
            [
                dcc.Link(row["name"], href=link({"study": row["name"], "view": "front"})),
                row["description"] or row["kind"],
                row["model"],
                html.Span(row["state"], className=f"state {row['state']}"),
                _done(row["trials"], row["target"]),
                str(row["operators"]),
                str(row["front"]),
                percent(row["best"]),
                _ago(time.time() - row["updated"]),
            ]
            for row in listing.to_dict("records")
        ]
        shown = plain_table(COLUMNS, lines, "Studies and comparisons, the latest first", right=(4, 5, 6, 7, 8))
        return [shown, *_ranks(studies.ranks(), theme)]


def _ranks(found: tuple[Any, str] | None, theme: str | None) -> list[Any]:
    """Methods ranked over the comparisons of more than one model or task."""
    if found is None:
        return []
    figure, words = found
    picture = figure_part(figure, theme, "Mean ranks of methods over the comparisons above", "listing-ranks")
    return [html.H2("Ranks over the comparisons"), html.P(words, className="note"), picture]


def _done(trials: int, target: float | None) -> str:
    """How many trials of how many; a column with unknown targets has the known ones as floats."""
    return str(trials or "") if target is None or pd.isna(target) or not target else f"{trials} of {target:.0f}"


def _ago(seconds: float) -> str:
    for size, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {word} ago"
    return "now"
