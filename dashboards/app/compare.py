"""Operators side by side: numbers, tokens by layer, skills, what each keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import dash
import numpy as np
import pandas as pd
from dash import Input, Output, State, dcc, html

from eos_platform.dashboards.app.address import MOST, link
from eos_platform.dashboards.app.operator import WAIT, kept_part, skills_of
from eos_platform.dashboards.app.parts import aria, interval, number, others, percent, plain_table, shown, value
from eos_platform.dashboards.comparison import compared_skills, staircases
from eos_platform.dashboards.operator import operator_figure
from eos_platform.dashboards.text import short
from eos_platform.protocols import Objective

NEAR = math.log(1.25)  # of compute, so far that two operators are still compared
Gap = tuple[float, float, float, float]  # difference in accuracy, its interval, p
OFFERED = 150  # operators in the list at once


def layout() -> list[Any]:
    """The page."""
    return [
        html.Div(
            [
                html.Span(f"Operators (two to {MOST})", id="label-compare", className="label"),
                dcc.Dropdown(
                    id="compare-choice", multi=True, searchable=True, placeholder="choose operators", options=[]
                ),
            ],
            className="field",
            role="group",
            **aria(labelledby="label-compare"),
        ),
        html.Div(id="compare-body"),
        html.Div(id="compare-kept"),
        dcc.Interval(id="compare-wait", interval=WAIT, disabled=True),
    ]


def first_choice(operators: pd.DataFrame) -> list[str]:
    """A front operator from the middle, and the best hand-designed one at about its compute, else the nearest."""
    front = operators[operators["front"]].sort_values("compute_ratio")
    if front.empty:
        return []
    mine = front.iloc[len(front) // 2]
    placed = operators["accuracy"].notna() & (operators["compute_ratio"] > 0)
    designed = operators[placed & (operators["family"] == "hand-designed")]
    apart = np.log(designed["compute_ratio"] / mine["compute_ratio"]).abs()
    near = designed[apart <= max(NEAR, apart.min())]
    best = near.sort_values("accuracy")["key"].tolist()[-1:]
    return list(dict.fromkeys([mine["key"], *(best or front["key"].tolist()[-1:])]))


def choice(operators: pd.DataFrame, where: dict[str, Any]) -> list[str]:
    """The operators of the address that there are, else a first choice."""
    known = set(operators["key"])
    return [key for key in where["with"] if key in known] or first_choice(operators)


def register(app: dash.Dash, studies: Any) -> None:
    """Its callbacks."""

    @app.callback(
        Output("compare-choice", "options"),
        Output("compare-choice", "value"),
        Input("where", "data"),
        Input("compare-choice", "search_value"),
        State("compare-choice", "value"),
    )
    def _offer(where: dict[str, Any] | None, typed: str | None, value: list[str] | None) -> tuple[Any, Any]:
        if not where or where["view"] != "compare":
            return dash.no_update, dash.no_update
        operators = studies.operators(where["study"])
        by_choice = dash.ctx.triggered_id == "compare-choice"
        keys = (value or []) if by_choice else choice(operators, where)
        # a list of thousands would take the browser seconds: those that matter first, more by typing
        chosen, rest = operators["key"].isin(keys), operators["accuracy"].notna()
        if typed:
            rest &= operators["name"].str.contains(typed, case=False, regex=False)
        rows = operators[rest & ~chosen].sort_values(["front", "family", "accuracy"], ascending=[False, True, False])
        operators = pd.concat([operators[chosen], rows.head(OFFERED)])
        options = [
            {
                "value": row["key"],
                "label": f"{row['name']} · {percent(row['accuracy'])} at {number(row['compute_ratio'])}",
            }
            for row in operators[["key", "name", "accuracy", "compute_ratio"]].to_dict("records")
        ]
        return options, dash.no_update if by_choice else keys

    @app.callback(Input("compare-choice", "value"), State("where", "data"), prevent_initial_call=True)
    def _remember(keys: list[str] | None, where: dict[str, Any] | None) -> None:
        """Into the address, by ``set_props``: as an output it would close a circle with what the address sets."""
        if where and where["view"] == "compare" and (keys or []) != choice(studies.operators(where["study"]), where):
            dash.set_props("url", {"search": link(where, **{"with": (keys or [])[:MOST]}).removeprefix("/")})

    @app.callback(Output("compare-body", "children"), Input("where", "data"), Input("theme", "data"))
    def _show(where: dict[str, Any] | None, theme: str | None) -> Any:
        if not where or where["view"] != "compare":
            return None
        operators = studies.operators(where["study"]).set_index("key", drop=False)
        keys = choice(operators, where)
        if len(keys) < 2:
            return html.P("Choose two operators or more.", className="note")
        rows = [operators.loc[key].to_dict() for key in keys]
        gaps = [studies.difference(where["study"], key, keys[0]) for key in keys[1:]]
        diagrams = [studies.diagram(where["study"], key) for key in keys]
        stairs = pd.concat(
            [
                diagram[0][diagram[0]["place"] == "decoder"].assign(operator=row["name"])
                for row, diagram in zip(rows, diagrams, strict=True)
                if diagram
            ]
            or [pd.DataFrame(columns=["operator", "layer", "tokens"])]
        )
        skills = pd.concat([skills_of(row) for row in rows])
        names = [str(row["name"]) for row in rows]
        small = [
            shown(
                operator_figure(diagram[0], diagram[1], str(row["name"]), height=340),
                theme,
                f"Visual tokens by layer of {row['name']}",
                f"compare-diagram-{place}",
            )
            for place, (row, diagram) in enumerate(zip(rows, diagrams, strict=True))
            if diagram
        ]
        return [
            _numbers(rows, where, studies.axes(where["study"]), studies.varied(where["study"]), gaps),
            html.Div(
                [
                    shown(staircases(stairs, names=names), theme, "Visual tokens by decoder layer", "compare-stairs"),
                    shown(compared_skills(skills, names=names), theme, "Accuracy by skill", "compare-skills"),
                ],
                className="two",
            ),
            html.Div(small, className="many"),
        ]

    @app.callback(
        Output("compare-kept", "children"),
        Output("compare-wait", "disabled"),
        Input("where", "data"),
        Input("compare-wait", "n_intervals"),
    )
    def _kept(where: dict[str, Any] | None, waited: int | None) -> tuple[Any, bool]:
        if not where or where["view"] != "compare":
            return None, True
        keys = choice(studies.operators(where["study"]), where)
        if len(keys) < 2:
            return None, True
        return kept_part(*studies.kept(where["study"], keys))


def _numbers(
    rows: list[dict[str, Any]],
    where: dict[str, Any],
    axes: Sequence[Objective],
    varied: Sequence[str],
    gaps: Sequence[Gap | None] = (),
) -> html.Div:
    columns: list[tuple[str, Any]] = [
        ("accuracy", lambda row: percent(row["accuracy"])),
        ("95 % interval (%)", interval),
        ("measured on", lambda row: row["measured_on"] if isinstance(row["measured_on"], str) else ""),
        ("compute ratio", lambda row: number(row["compute_ratio"])),
        ("mean visual tokens", lambda row: number(row["mean_tokens"], ".1f")),
        ("tokens left", lambda row: number(row["tokens_left"], ".0f")),
        *((one.label, partial(value, one=one)) for one in others(axes)),
        ("regime", lambda row: row["regime"] if isinstance(row["regime"], str) else ""),
        ("family", lambda row: row["family"]),
        *((name, partial(_setting, name=name)) for name in varied if any(map(partial(_setting, name=name), rows))),
        ("seed", lambda row: number(row["seed"], ".0f") if not pd.isna(row["trial"]) else ""),
        ("search took (s)", lambda row: number(row["seconds"], ".0f")),
    ]
    names = [dcc.Link(str(row["name"]), href=link(where, view="operator", run=row["key"])) for row in rows]
    lines = [[label, *(tell(row) for row in rows)] for label, tell in columns]
    if any(gaps):
        lines[2:2] = [
            [f"difference from {rows[0]['name']} (points, 95 %)", "", *(difference(gap) for gap in gaps)],
            ["p, as of two sets of questions", "", *("" if gap is None else f"{gap[3]:.2g}" for gap in gaps)],
            ["better", "", *(verdict(gap, rows[0], row) for gap, row in zip(gaps, rows[1:], strict=True))],
        ]
    return plain_table(["", *names], lines, "Side by side", right=range(1, len(rows) + 1))


def _setting(row: dict[str, Any], name: str) -> str:
    value = row.get(f"params.{name}")
    return short(value) if isinstance(value, str) and not pd.isna(row["trial"]) else ""


def difference(gap: Gap | None) -> str:
    """In points, with its interval."""
    return "not measured alike" if gap is None else f"{100 * gap[0]:+.1f} ({100 * gap[1]:+.1f} to {100 * gap[2]:+.1f})"


def verdict(gap: Gap | None, first: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Which of two is better: in accuracy, where the interval says so, and in compute."""
    if gap is None:
        return ""
    more = other["name"] if gap[1] > 0 else first["name"] if gap[2] < 0 else None
    cheaper = min((first, other), key=lambda row: float(row["compute_ratio"]))["name"]
    if more is None:
        return f"no difference in accuracy to be told; {cheaper} is cheaper"
    return f"{more}, and cheaper" if more == cheaper else f"{more} more accurate, {cheaper} cheaper"
