"""Everything as a table: for those who do not see or do not trust pictures; the same as a file to calculate with."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import dash
import flask
import pandas as pd
from dash import Input, Output, State, dcc, html

from eos_platform.common.printable import LABEL, printable
from eos_platform.dashboards.app.address import kept_of, link
from eos_platform.dashboards.app.parts import (
    aria,
    field,
    interval,
    number,
    others,
    percent,
    plain_table,
    value,
    waiting,
)
from eos_platform.dashboards.text import records, short
from eos_platform.protocols import Objective

PAGE = 25
WAITING = "Loading the operators …"
FIXED = ("family", "regime", "compute_ratio", "accuracy", "interval", "measured_on", "mean_tokens")
WORDS = ("family", "regime", "measured_on", "state", "note")  # columns that are no numbers
Column = tuple[str, str, Callable[[dict[str, Any]], str]]  # its label, what it is sorted by, a cell


def layout() -> list[Any]:
    """The page."""
    return [
        html.Div(
            [
                html.Div(
                    [
                        html.Label("Find", htmlFor="table-find", className="label"),
                        dcc.Input(
                            id="table-find",
                            type="search",
                            debounce=0.3,
                            placeholder="name, family, regime, state, note",
                        ),
                    ],
                    className="field find",
                ),
                field(
                    "Columns", dcc.Dropdown(id="table-columns", multi=True, placeholder="default columns", options=[])
                ),
                html.Div(
                    [
                        html.Label("Page", htmlFor="table-page", className="label"),
                        dcc.Input(id="table-page", type="number", min=1, step=1, value=1),
                    ],
                    className="field page",
                ),
                html.Div(html.A("Download as CSV", id="table-csv", className="button", href=""), className="field"),
            ],
            className="row",
        ),
        html.Div(waiting(WAITING), id="table-body"),
    ]


def columns_of(axes: Sequence[Objective], measures: Sequence[Objective], varied: Sequence[str]) -> dict[str, Column]:
    """Every column there can be, by its name; the operator's name stands before all of them."""
    known: dict[str, Column] = {
        "family": ("family", "family", lambda row: str(row["family"])),
        "regime": ("regime", "regime", lambda row: _word(row["regime"]) or str(row["state"])),
        "compute_ratio": ("compute ratio", "compute_ratio", lambda row: number(row["compute_ratio"])),
        "accuracy": ("accuracy", "accuracy", lambda row: percent(row["accuracy"])),
        "interval": ("95 % interval (%)", "accuracy_low", interval),
        "measured_on": ("measured on", "measured_on", lambda row: _word(row["measured_on"])),
        "mean_tokens": ("mean tokens", "mean_tokens", lambda row: number(row["mean_tokens"], ".1f")),
        "state": ("state", "state", lambda row: str(row["state"])),
        "trial": ("trial", "trial", lambda row: number(row["trial"], ".0f")),
        "seconds": ("search time (s)", "seconds", lambda row: number(row["seconds"], ".0f")),
        "note": ("note", "note", lambda row: printable(_word(row["note"]), LABEL)),
        "seed": ("seed", "seed", lambda row: number(row["seed"], ".0f") if not pd.isna(row["trial"]) else ""),
    }
    for one in (*others(axes), *measures):
        known.setdefault(one.metric, (one.label, one.metric, lambda row, one=one: value(row, one)))  # type: ignore[misc]
    for name in varied:
        known[f"params.{name}"] = (name, f"params.{name}", lambda row, name=name: _setting(row, name))  # type: ignore[misc]
    return known


def usual(axes: Sequence[Objective], varied: Sequence[str]) -> list[str]:
    """The columns shown where none are chosen."""
    return [*FIXED, *(one.metric for one in others(axes)), *(f"params.{name}" for name in varied), "seconds", "seed"]


def register(app: dash.Dash, studies: Any) -> None:
    """Its callbacks, and the file."""

    def columns(study: str) -> dict[str, Column]:
        return columns_of(studies.axes(study), studies.measures(study), studies.varied(study))

    @app.callback(
        Output("table-body", "children"),
        Output("table-csv", "href"),
        Input("at-table", "data"),
        Input("table-find", "value"),
        Input("table-columns", "value"),
        Input("table-page", "value"),
        prevent_initial_call=True,
    )
    def _show(where: dict[str, Any] | None, find: str | None, picked: list[str] | None, page: int | None) -> Any:
        if not where:
            return waiting(WAITING), ""  # what is not seen would slow the rest
        study, known = where["study"], columns(where["study"])
        order = where.get("sort") or "-accuracy"
        operators = ordered(found(studies.operators(study), find or ""), order, known)
        pages = max(1, -(-len(operators) // PAGE))
        at = min(max(page or 1, 1), pages)
        names = [name for name in picked or [] if name in known]
        if not names:
            names = usual(studies.axes(study), studies.varied(study))
            names += ["note"] if studies.operators(study)["note"].notna().any() else []
        rows = records(operators.iloc[(at - 1) * PAGE : at * PAGE])
        heads = [_head("operator", "name", order, where)]
        heads += [_head(known[name][0], name, order, where, right=name not in WORDS) for name in names]
        lines = [
            [
                dcc.Link(str(row["name"]), href=link(where, view="operator", run=row["key"])),
                *(known[name][2](row) for name in names),
            ]
            for row in rows
        ]
        right = [place for place, name in enumerate(names, 1) if name not in WORDS]
        caption = f"{len(operators)} operators, page {at} of {pages}"
        file = f"/table.csv?study={quote(study)}&sort={quote(order)}&find={quote(find or '')}"
        shown = plain_table(heads, lines, caption, right=right)
        if not lines:
            every = len(studies.operators(study))
            why = f"None of the {every} operators matches '{find}'." if every else "No trial has started yet."
            return [shown, html.P(why, className="note")], file
        return shown, file

    @app.callback(
        Output("table-columns", "options"),
        Output("table-columns", "value"),
        Input("at-table", "data"),
        State("table-columns", "options"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    def _offer(where: dict[str, Any] | None, offered: list[Any] | None, search: str | None) -> Any:
        if not where:
            raise dash.exceptions.PreventUpdate
        known = columns(where["study"])
        names = [name for name in kept_of(search or "").get("columns", []) if name in known]
        shown = [{"value": name, "label": label} for name, (label, *_) in known.items()]
        return shown, dash.no_update if offered else names

    server: flask.Flask = app.server

    @server.route("/table.csv")
    def _file() -> flask.Response:
        study = flask.request.args.get("study", "")
        if study not in studies.names():
            flask.abort(404, "no such study")
        known = columns(study)
        rows = found(studies.operators(study), flask.request.args.get("find", ""))
        text = as_csv(ordered(rows, flask.request.args.get("sort", ""), known), known)
        headers = {"Content-Disposition": "attachment; filename=operators.csv"}
        return flask.Response(text, content_type="text/csv; charset=utf-8", headers=headers)


def found(operators: pd.DataFrame, find: str) -> pd.DataFrame:
    """The operators that have every one of the words somewhere."""
    for word in find.lower().split():
        text = operators[["name", "family", "regime", "state", "design", "note"]].astype(object).fillna("").astype(str)
        operators = operators[text.agg(" ".join, axis=1).str.lower().str.contains(word, regex=False)]
    return operators


def ordered(operators: pd.DataFrame, order: str, columns: dict[str, Column]) -> pd.DataFrame:
    """The operators in the order of a column, from high to low after a minus; what is not known last."""
    name = order.removeprefix("-")
    key = "name" if name == "name" else columns[name][1] if name in columns else "accuracy"
    falling = order.startswith("-") or (name not in columns and name != "name")
    if key not in operators:
        return operators
    values = pd.to_numeric(operators[key], errors="coerce")
    by = values if values.notna().any() else operators[key].astype(object).where(operators[key].notna(), None)
    place = by.sort_values(ascending=not falling, na_position="last", kind="stable").index
    return operators.loc[place]


def as_csv(operators: pd.DataFrame, columns: dict[str, Column]) -> str:
    """All columns, numbers in full; what a spreadsheet would take for a formula is quoted."""
    text = io.StringIO()
    writer = csv.writer(text)
    keys = [key for _, key, _ in columns.values() if key in operators]
    if "accuracy_low" in keys:  # the interval is one column of the table
        keys.insert(keys.index("accuracy_low") + 1, "accuracy_high")
    writer.writerow(["operator", "key", *keys])
    for row in operators[["name", "key", *keys]].itertuples(index=False):
        writer.writerow([_plain(cell) for cell in row])
    return text.getvalue()


def _plain(cell: Any) -> Any:
    if isinstance(cell, str):
        return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
    return "" if pd.isna(cell) else cell


def _head(label: str, name: str, order: str, where: dict[str, Any], *, right: bool = False) -> html.Th:
    """A column's head: it puts the table in its order, and on a second click in the other.

    ``assets/page.js`` goes by the order in the address, not by this link: a second click may come before the table is
    drawn anew.
    """
    here, falling = order.removeprefix("-") == name, order.startswith("-")
    mark = (" ▼" if falling else " ▲") if here else ""
    words = "from low to high" if here and falling else "from high to low"
    target = link(where, sort=name if here and falling else f"-{name}")
    by: dict[str, Any] = {"data-sort": name}
    inner = html.A(f"{label}{mark}", href=target, title=f"Sort by {label}, {words}", **by)
    sort = aria(sort="descending" if falling else "ascending") if here else {}
    return html.Th(inner, scope="col", className="right" if right else "", **sort)


def _word(text: Any) -> str:
    return text if isinstance(text, str) else ""


def _setting(row: dict[str, Any], name: str) -> str:
    setting = row.get(f"params.{name}")
    return short(setting) if isinstance(setting, str) and not pd.isna(row["trial"]) else ""
