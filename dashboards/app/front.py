"""The front: what was found and what people designed, with filters, a budget, a brush and a way in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import dash
import numpy as np
import pandas as pd
from dash import ClientsideFunction, Input, Output, State, dcc, html

from eos_platform.dashboards.app.address import MOST, kept_of, link
from eos_platform.dashboards.app.kept_state import axis_fields, budget_control, chosen_axes, remember
from eos_platform.dashboards.app.parts import aria, drawn, field, graph, number, operators_table, percent
from eos_platform.dashboards.objectives import space_figure
from eos_platform.dashboards.pareto import add_fronts, pareto_figure
from eos_platform.objectives import DEFAULT
from eos_platform.protocols import Objective

FAMILIES = ("searched", "hand-designed", "unreduced")
SHORT = 40  # letters of an axis' name, on a telephone
SHOWN = 15  # rows of the table below; the Table view has all: every cell slows Dash's page a little
OPENS = ": click a name to open the operator"


def layout() -> list[Any]:
    """The page."""
    return [
        html.Div(
            [
                # no form: Enter in a field would send it, and load the page anew
                html.Div(
                    html.Details([html.Summary("Filters"), *_filters()], open=True, id="front-filters"),
                    className="filters",
                    role="search",
                    **aria(label="Filters of the front"),
                ),
                html.Div(
                    [
                        html.P(
                            html.Span("Loading the study …", className="working"),
                            id="front-best",
                            role="status",
                            className="best",
                            **aria(live="polite"),
                        ),
                        html.A("Skip the plot and go to the table", href="#front-picked", className="skip"),
                        graph(
                            "front-graph",
                            "Accuracy against compute ratio. The names in the table below open the "
                            "operators on the front; the Table view lists every operator",
                            config={"modeBarButtonsToAdd": ["select2d", "lasso2d"]},
                            style={"height": "clamp(430px, calc(100vh - 190px), 760px)"},
                        ),
                        html.P(
                            "Click a point to open its operator (by keyboard: use the names in the table "
                            "below). Drag to zoom, double-click to reset. The box and lasso tools (top "
                            "right) select points for the table and for a comparison. Faded points are "
                            "dominated; those not evaluated on held-out questions are shown at their "
                            "validation accuracy, which can be above the front.",
                            className="note",
                        ),
                    ],
                    className="wide",
                ),
            ],
            className="with-filters",
        ),
        html.Div(id="front-picked", tabIndex="-1"),
        dcc.Store(id="front-zoom"),
        dcc.Store(id="front-drawn"),
        dcc.Store(id="front-kept"),
    ]


def _filters() -> list[Any]:
    return [
        field(
            "Accuracy",
            _radio("front-on", {"best": "held-out where measured", "validation": "validation"}),
        ),
        field("Families", _checks("front-families", FAMILIES)),
        field("Regimes", _checks("front-regimes", ())),
        field(
            "Designs",
            dcc.Dropdown(id="front-designs", multi=True, placeholder="all designs", options=[], searchable=True),
        ),
        field("Budget (maximum compute ratio)", budget_control()),
        field("Show", _checks("front-show", ("dominated", "confidence bars"))),
        html.Details(
            [
                html.Summary("Axes and other studies"),
                *axis_fields(),
                field(
                    "Also show the front of",
                    dcc.Dropdown(id="front-also", multi=True, placeholder="none", options=[]),
                ),
            ],
        ),
    ]


def _checks(name: str, options: tuple[str, ...]) -> dcc.Checklist:
    return dcc.Checklist(id=name, options=list(options), value=list(options))


def _radio(name: str, options: dict[str, str]) -> dcc.RadioItems:
    first = next(iter(options))
    return dcc.RadioItems(
        id=name, options=[{"label": text, "value": key} for key, text in options.items()], value=first
    )


def chosen(
    operators: pd.DataFrame, families: list[str], regimes: list[str] | None, designs: list[str] | None, show: list[str]
) -> pd.DataFrame:
    """The operators that the filters let through."""
    keep = operators["accuracy"].notna() & operators["compute_ratio"].notna() & operators["family"].isin(families)
    if regimes is not None:
        keep &= operators["regime"].isin(regimes) | (operators["family"] == "unreduced")
    if designs:
        keep &= (operators["family"] != "hand-designed") | operators["design"].isin(designs)
    if "dominated" not in show:
        keep &= (operators["family"] != "searched") | operators["front"]
    return operators[keep]


def register(app: dash.Dash, studies: Any) -> None:
    """Its callbacks."""

    @app.callback(
        Output("front-regimes", "options"),
        Output("front-regimes", "value"),
        Output("front-designs", "options"),
        Output("front-designs", "value"),
        Input("at-front", "data"),
        State("front-regimes", "options"),
        State("front-regimes", "value"),
        State("front-designs", "options"),
        State("front-designs", "value"),
        State("url", "search"),
    )
    def _offer(where, regimes, picked, designs, wanted, search):  # type: ignore[no-untyped-def]
        if not where or not where["study"]:
            return (dash.no_update,) * 4
        operators = studies.operators(where["study"])
        now = sorted(operators.loc[operators["family"] != "unreduced", "regime"].dropna().unique())
        named = sorted(operators["design"].dropna().unique())
        if now == regimes and named == designs:
            return (dash.no_update,) * 4
        given = kept_of(search or "")
        if not regimes and "regimes" in given:
            regimes, picked = now, given["regimes"]
        if not designs and "designs" in given:
            wanted = given["designs"]
        # what is new is shown, what was turned off stays off
        on = [name for name in now if name in (picked or []) or name not in (regimes or [])]
        return now, on, named, [name for name in wanted or [] if name in named]

    @app.callback(
        Output("front-graph", "figure"),
        Output("front-best", "children"),
        Output("front-drawn", "data"),
        Input("at-front", "data"),
        Input("front-on", "value"),
        Input("front-families", "value"),
        Input("front-regimes", "value"),
        Input("front-designs", "value"),
        Input("front-budget", "value"),
        Input("front-show", "value"),
        Input("front-y", "value"),
        Input("front-x", "value"),
        Input("front-z", "value"),
        Input("front-also", "value"),
        Input("theme", "data"),
        State("where", "data"),
        State("front-regimes", "options"),
        State("front-zoom", "data"),
        State("front-drawn", "data"),
        State("narrow", "data"),
    )
    def _draw(  # type: ignore[no-untyped-def]
        where, on, families, regimes, designs, budget, show, y, x, z, also, theme, now_at, offered, zoom, before, narrow
    ):
        if not where or not now_at or now_at["view"] != "front":  # by the theme, beside another view
            raise dash.exceptions.PreventUpdate
        study = where["study"]
        operators = studies.operators(study, on)
        rows = chosen(operators, families, regimes if offered else None, designs, show)
        limit = budget if budget and budget < 1 else None
        axes = chosen_axes(studies.axes(study), studies.measures(study), y, x, z)
        others = [name for name in also or [] if name != study and name in studies.names()]
        fronts = {name: studies.operators(name, on).query("front") for name in others}
        prints = [_fingerprint(one, axes) for one in (rows, *fronts.values())]
        of = ":".join([study, on, y or "", x or "", z or ""])
        now = f"{of} {limit} {'confidence bars' in show} {theme} {others} {prints}"
        if now == before:  # back from another view, or only a running search's curves went on
            raise dash.exceptions.PreventUpdate
        if limit and tuple(axes) != DEFAULT:  # only an axis of compute has a place for the line of a budget
            rows = rows[rows["compute_ratio"] <= limit]
        why, own, space = why_empty(operators, rows, axes), set(axes) == set(studies.axes(study)), len(axes) > 2 and z
        if space:
            figure = space_figure(rows, "", height=None, axes=axes, own=own, empty=why)
        else:
            bars = "confidence bars" in show
            figure = pareto_figure(rows, "", budget=limit, bars=bars, height=None, axes=axes, own=own, empty=why)
            add_fronts(figure, fronts, axes)
        plain = drawn(figure, theme, of)
        layout = plain["layout"]
        layout.pop("title", None)
        layout |= {"margin": {"t": 26, "b": 74, "l": 72, "r": 20}, "dragmode": "orbit" if space else "zoom"}
        if narrow:
            _fit_narrow(layout)
        # uirevision alone gives way where a new range comes with new points
        if zoom and zoom["of"] == of:
            for axis, ends in zoom["ranges"].items():
                layout[axis] = {**layout.get(axis, {}), "range": ends}
        return plain, best_within(rows, budget), now

    app.clientside_callback(
        ClientsideFunction("eos", "zoom"),
        Output("front-zoom", "data"),
        Input("front-graph", "relayoutData"),
        State("front-zoom", "data"),
        State("where", "data"),
        State("front-on", "value"),
        State("front-y", "value"),
        State("front-x", "value"),
        State("front-z", "value"),
    )
    remember(app, studies)

    app.clientside_callback(
        ClientsideFunction("eos", "open"),
        Output("front-graph", "clickData"),
        Input("front-graph", "clickData"),
        State("where", "data"),
        prevent_initial_call=True,
    )

    app.clientside_callback(
        ClientsideFunction("eos", "leave"),
        Output("front-picked", "children", allow_duplicate=True),
        Input("where", "data"),
        prevent_initial_call=True,
    )

    @app.callback(
        Output("front-picked", "children"),
        Input("at-front", "data"),
        Input("front-graph", "selectedData"),
        State("front-on", "value"),
    )
    def _pick(where, selected, on):  # type: ignore[no-untyped-def]
        if not where:
            return None
        operators, axes = studies.operators(where["study"], on), studies.axes(where["study"])
        keys = [point["id"] for point in (selected or {}).get("points", []) if point.get("id")]
        picked = operators[operators["key"].isin(keys)]
        if picked.empty:
            rows = operators[operators["front"]].sort_values("compute_ratio")
            asked = "".join(f" ({name} questions)" for name in rows["measured_on"].dropna().unique())
            caption = f"The Pareto front{asked}, cheapest first{OPENS}"
            if len(rows) > SHOWN:
                caption = (
                    f"{SHOWN} of the {len(rows)} operators on the Pareto front{asked}, cheapest "
                    f"first{OPENS}; the Table view has all"
                )
                rows = rows.iloc[np.linspace(0, len(rows) - 1, SHOWN).astype(int)]
            return operators_table(rows.to_dict("records"), where, caption, axes)
        rows = picked.sort_values(["compute_ratio", "accuracy"])
        some = rows["key"].tolist()[:MOST]
        more = f"; the first {SHOWN} are shown" if len(rows) > SHOWN else ""
        return [
            html.P(dcc.Link(f"Compare {len(some)} side by side", href=link(where, view="compare", **{"with": some}))),
            operators_table(
                rows.head(SHOWN).to_dict("records"), where, f"{len(rows)} operators selected{more}{OPENS}", axes
            ),
        ]


def _fit_narrow(layout: dict[str, Any]) -> None:
    """For a telephone: the legend below the figure instead of beside it, and names of axes that have room."""
    layout["margin"] |= {"l": 54, "r": 10, "b": 40}
    layout["legend"] = {**layout["legend"], "orientation": "h", "x": 0, "xanchor": "left", "y": -0.2, "yanchor": "top"}
    for axis in ("xaxis", "yaxis"):
        title = layout[axis]["title"]
        if len(title["text"]) > SHORT:
            title |= {"text": title["text"].split(":")[0]}
        title |= {"font": {**title.get("font", {}), "size": 13}, "standoff": 8}


def why_empty(operators: pd.DataFrame, rows: pd.DataFrame, axes: Sequence[Objective]) -> str:
    """What is said where no point can be drawn: "filtered out" is not "not measured"."""
    measured = int(operators["accuracy"].notna().sum())
    if not measured:
        return "No operator measured yet"
    if rows.empty:
        return f"All {measured} measured operators are filtered out"
    lacking = [one.label for one in axes if one.metric not in rows or rows[one.metric].isna().all()]
    return f"None of the {len(rows)} operators shown has a measured {' or '.join(lacking)}"


def _fingerprint(rows: pd.DataFrame, axes: Sequence[Objective]) -> int:
    """Of what the figure shows of them."""
    columns = ["key", "accuracy", "accuracy_low", "compute_ratio", "front", "measured_on"]
    shown = rows.reindex(columns=list(dict.fromkeys([*columns, *(one.metric for one in axes)])))
    return int(pd.util.hash_pandas_object(shown, index=False).sum())


def best_within(rows: pd.DataFrame, budget: float | None) -> list[Any]:
    """In words: the best of each family that the budget allows."""
    limit = budget if budget else math.inf
    limit = math.inf if limit >= 1 else limit
    text: list[Any] = [html.Strong("Best" if limit == math.inf else f"Best within {limit:.3g}"), ": "]
    parts = []
    for family in ("searched", "hand-designed"):
        mine = rows[(rows["family"] == family) & (rows["compute_ratio"] <= limit)]
        if family == "searched" and mine["front"].any():
            mine = mine[mine["front"]]  # by the better measurement, where there are two
        if len(mine):
            best = mine.sort_values("accuracy").iloc[-1]
            parts.append(
                f"{family} {percent(best['accuracy'])} at compute {number(best['compute_ratio'])} ({best['name']})"
            )
        else:
            parts.append(f"no {family} operator")
    whole = rows[rows["family"] == "unreduced"]
    if len(whole):
        parts.append(f"unreduced model {percent(whole['accuracy'].iloc[0])}")
    return [*text, "; ".join(parts)]
