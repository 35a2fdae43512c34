"""Everything as a table: for those who do not see or do not trust pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash
import pandas as pd
from dash import Input, Output, State, dcc, html

from eos_platform.dashboards.app.parts import aria, operators_table, others
from eos_platform.dashboards.rows import records
from eos_platform.protocols import Objective

PAGE = 25
ORDERS = {
    "accuracy": ("accuracy, best first", "accuracy", False),
    "ratio": ("compute ratio, cheapest first", "compute_ratio", True),
    "trial": ("trial, latest first", "trial", False),
    "name": ("name", "name", True),
}


def layout() -> list[Any]:
    """The page."""
    return [
        html.Div(
            [
                html.Div(
                    [
                        html.Label("Find", htmlFor="table-find", className="label"),
                        dcc.Input(
                            id="table-find", type="search", debounce=0.3, placeholder="name, family, regime, state"
                        ),
                    ],
                    className="field find",
                ),
                html.Div(
                    [
                        html.Span("Order", className="label", id="label-table-order"),
                        dcc.Dropdown(
                            id="table-order",
                            options=[{"value": key, "label": label} for key, (label, *_) in ORDERS.items()],
                            value="accuracy",
                            clearable=False,
                            searchable=False,
                        ),
                    ],
                    className="field",
                    role="group",
                    **aria(labelledby="label-table-order"),
                ),
                html.Div(
                    [
                        html.Label("Page", htmlFor="table-page", className="label"),
                        dcc.Input(id="table-page", type="number", min=1, step=1, value=1),
                    ],
                    className="field",
                ),
            ],
            className="row",
        ),
        html.Div(id="table-body"),
    ]


def register(app: dash.Dash, studies: Any) -> None:
    """Its callback."""

    @app.callback(
        Output("table-body", "children"),
        Input("where", "data"),
        Input("version", "data"),
        Input("table-find", "value"),
        Input("table-order", "value"),
        Input("table-page", "value"),
    )
    def _show(where: dict[str, Any] | None, version: str, find: str | None, order: str, page: int | None) -> Any:
        if not where or where["view"] != "table":
            return None  # what is not seen would slow the rest
        operators = studies.operators(where["study"])
        for word in (find or "").lower().split():
            columns = operators[["name", "family", "regime", "state", "design"]].astype(object).fillna("").astype(str)
            operators = operators[columns.agg(" ".join, axis=1).str.lower().str.contains(word, regex=False)]
        axes = studies.axes(where["study"])
        operators = ordered(operators, order, axes)
        pages = max(1, -(-len(operators) // PAGE))
        at = min(max(page or 1, 1), pages)
        rows = records(operators.iloc[(at - 1) * PAGE : at * PAGE])
        return operators_table(rows, where, f"{len(operators)} operators, page {at} of {pages}", axes)

    @app.callback(
        Output("table-order", "options"),
        Output("table-order", "value"),
        Input("where", "data"),
        State("table-order", "value"),
    )
    def _offer(where: dict[str, Any] | None, order: str) -> Any:
        if not where or where["view"] != "table":
            return dash.no_update, dash.no_update
        options = orders(studies.axes(where["study"]))
        return options, order if order in [one["value"] for one in options] else "accuracy"


def orders(axes: Sequence[Objective]) -> list[dict[str, str]]:
    """What the table can be put in the order of: the usual, and the further objectives of a study."""
    further = {one.metric: f"{one.label}, best first" for one in others(axes)}
    known = {key: label for key, (label, *_) in ORDERS.items()} | further
    return [{"value": key, "label": label} for key, label in known.items()]


def ordered(operators: pd.DataFrame, order: str, axes: Sequence[Objective]) -> pd.DataFrame:
    """The operators in one of those orders; those whose value is not known last."""
    further = {one.metric: ("", one.metric, one.sign < 0) for one in others(axes)}
    _, column, rising = (ORDERS | further).get(order, ORDERS["accuracy"])
    return operators.sort_values(column, ascending=rising, na_position="last", kind="stable")
