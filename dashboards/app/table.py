"""Everything as a table: for those who do not see or do not trust pictures."""

from __future__ import annotations

from typing import Any

import dash
from dash import Input, Output, State, dcc, html

from eos_platform.dashboards.app.parts import aria, operators_table, others

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
        found = studies.operators(where["study"])
        for word in (find or "").lower().split():
            columns = found[["name", "family", "regime", "state", "design"]].fillna("").astype(str)
            found = found[columns.agg(" ".join, axis=1).str.lower().str.contains(word, regex=False)]
        axes = studies.axes(where["study"])
        _, column, rising = ORDERS.get(order, ("", order, True))
        if order not in ORDERS:  # a further objective, the best first
            rising = next((one.sign < 0 for one in axes if one.metric == order), True)
            column = order if order in found else "trial"
        found = found.sort_values(column, ascending=rising, na_position="last", kind="stable")
        pages = max(1, -(-len(found) // PAGE))
        at = min(max(page or 1, 1), pages)
        rows = found.iloc[(at - 1) * PAGE : at * PAGE].to_dict("records")
        return operators_table(rows, where, f"{len(found)} operators, page {at} of {pages}", axes)

    @app.callback(
        Output("table-order", "options"),
        Output("table-order", "value"),
        Input("where", "data"),
        State("table-order", "value"),
    )
    def _offer(where: dict[str, Any] | None, order: str) -> Any:
        if not where or where["view"] != "table":
            return dash.no_update, dash.no_update
        further = {one.metric: f"{one.label}, best first" for one in others(studies.axes(where["study"]))}
        known = {key: label for key, (label, *_) in ORDERS.items()} | further
        options = [{"value": key, "label": label} for key, label in known.items()]
        return options, order if order in known else "accuracy"
