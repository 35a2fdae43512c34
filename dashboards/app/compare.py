"""Operators side by side: numbers, tokens by layer, skills, what each keeps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import dash
import pandas as pd
from dash import Input, Output, State, dcc, html

from eos_platform.dashboards.app.address import MOST, link
from eos_platform.dashboards.app.beside import HOW, Gap, chance, difference, nearest_design, verdict
from eos_platform.dashboards.app.kept import WAIT, kept_part
from eos_platform.dashboards.app.operator import skills_of, why_no_skills
from eos_platform.dashboards.app.parts import (
    aria,
    interval,
    number,
    others,
    percent,
    plain_table,
    shown,
    value,
    waiting,
)
from eos_platform.dashboards.comparison import compared_skills, staircases
from eos_platform.dashboards.operator import operator_figure
from eos_platform.dashboards.palette import operator_styles
from eos_platform.dashboards.text import records, short
from eos_platform.protocols import Objective

WAITING = "Comparing …"
OFFERED = 150  # operators in the list at once


def layout() -> list[Any]:
    """The page."""
    return [
        html.Div(
            [
                html.Span(f"Operators to compare (2 to {MOST})", id="label-compare", className="label"),
                dcc.Dropdown(
                    id="compare-choice", multi=True, searchable=True, placeholder="choose operators", options=[]
                ),
            ],
            className="field",
            role="group",
            **aria(labelledby="label-compare"),
        ),
        html.Div(waiting(WAITING), id="compare-body"),
        html.Div(id="compare-kept"),
        dcc.Interval(id="compare-wait", interval=WAIT, disabled=True),
    ]


def first_choice(operators: pd.DataFrame) -> list[str]:
    """A front operator from the middle, and the design nearest to it."""
    front = operators[operators["front"]].sort_values("compute_ratio")
    if front.empty:
        return []
    mine = records(front)[len(front) // 2]
    design = nearest_design(operators, mine)
    return list(dict.fromkeys([mine["key"], design["key"] if design else front["key"].iloc[-1]]))


def choice(operators: pd.DataFrame, where: dict[str, Any]) -> list[str]:
    """The operators of the address that there are, else a first choice."""
    known = set(operators["key"])
    return [key for key in where["with"] if key in known] or first_choice(operators)


def register(app: dash.Dash, studies: Any) -> None:
    """Its callbacks."""

    @app.callback(
        Output("compare-choice", "options"),
        Output("compare-choice", "value"),
        Input("at-compare", "data"),
        Input("compare-choice", "search_value"),
        State("compare-choice", "value"),
    )
    def _offer(where: dict[str, Any] | None, typed: str | None, value: list[str] | None) -> tuple[Any, Any]:
        if not where:
            raise dash.exceptions.PreventUpdate
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

    @app.callback(Output("compare-body", "children"), Input("at-compare", "data"), Input("theme", "data"))
    def _show(where: dict[str, Any] | None, theme: str | None) -> Any:
        if not where:
            return waiting(WAITING)
        operators = studies.operators(where["study"]).set_index("key", drop=False)
        keys = choice(operators, where)
        if len(keys) < 2:
            measured = int(operators["accuracy"].notna().sum())
            why = (
                f"A comparison needs two measured operators; there are {measured}."
                if measured < 2
                else "Choose two or more."
            )
            return html.P(why, className="note")
        rows = [operators.loc[key].to_dict() for key in keys]
        gaps = [studies.difference(where["study"], key, keys[0]) for key in keys[1:]]
        designs = [nearest_design(operators, row) if row["family"] == "searched" else None for row in rows]
        against = [
            (design, studies.difference(where["study"], row["key"], design["key"])) if design else None
            for row, design in zip(rows, designs, strict=True)
        ]
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
        styles = operator_styles((str(row["name"]), row["family"], _word(row["design"])) for row in rows)
        small = [
            shown(
                operator_figure(
                    diagram[0], diagram[1], str(row["name"]), height=340, colour=styles[str(row["name"])].colour
                ),
                theme,
                f"Visual tokens by layer of {row['name']}",
                f"compare-diagram-{place}",
            )
            for place, (row, diagram) in enumerate(zip(rows, diagrams, strict=True))
            if diagram
        ]
        return [
            _numbers(rows, where, studies.axes(where["study"]), studies.varied(where["study"]), gaps, against),
            html.Div(
                [
                    shown(staircases(stairs, styles=styles), theme, "Visual tokens by decoder layer", "compare-stairs"),
                    shown(
                        compared_skills(skills, styles=styles, empty=why_no_skills(rows)),
                        theme,
                        "Accuracy by skill",
                        "compare-skills",
                    ),
                ],
                className="two",
            ),
            html.Div(small, className="many"),
        ]

    @app.callback(
        Output("compare-kept", "children"),
        Output("compare-wait", "disabled"),
        Input("at-compare", "data"),
        Input("compare-wait", "n_intervals"),
    )
    def _kept(where: dict[str, Any] | None, waited: int | None) -> tuple[Any, bool]:
        if not where:
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
    gaps: Sequence[Gap | None],
    against: Sequence[tuple[dict[str, Any], Gap | None] | None],
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
        ("search time (s)", lambda row: number(row["seconds"], ".0f")),
        *([("note", lambda row: _word(row["note"]))] if any(_word(row["note"]) for row in rows) else []),
    ]
    names = [dcc.Link(str(row["name"]), href=link(where, view="operator", run=row["key"])) for row in rows]
    lines = [[label, *(tell(row) for row in rows)] for label, tell in columns]
    if any(gaps):
        lines[2:2] = [
            [f"difference from {rows[0]['name']} (points, 95 %)", "", *(difference(gap) for gap in gaps)],
            ["p-value (as of independent questions)", "", *(chance(gap) for gap in gaps)],
            ["better", "", *(verdict(gap, rows[0], row) for gap, row in zip(gaps, rows[1:], strict=True))],
        ]
    if any(against):
        cells = [_design(pair, where) if pair else "" for pair in against]
        lines += [
            [html.Span("nearest design", title=HOW), *cells],
            [
                "difference from the nearest design (points, 95 %)",
                *(difference(pair[1]) if pair else "" for pair in against),
            ],
            ["p-value", *(chance(pair[1]) if pair else "" for pair in against)],
        ]
    return plain_table(["", *names], lines, "Side by side", right=range(1, len(rows) + 1))


def _design(pair: tuple[dict[str, Any], Gap | None], where: dict[str, Any]) -> html.Span:
    """A design's name, a link to it, and its compute."""
    design = pair[0]
    page = dcc.Link(str(design["name"]), href=link(where, view="operator", run=design["key"]))
    return html.Span([page, f", compute {number(design['compute_ratio'])}"])


def _word(text: Any) -> str:
    return text if isinstance(text, str) else ""


def _setting(row: dict[str, Any], name: str) -> str:
    value = row.get(f"params.{name}")
    return short(value) if isinstance(value, str) and not pd.isna(row["trial"]) else ""
