"""One operator: what it does, how good it is at what, what it keeps, and how to take it home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash
import pandas as pd
from dash import Input, Output, State, dcc, html

from eos_platform.dashboards.app import notes
from eos_platform.dashboards.app.address import link
from eos_platform.dashboards.app.beside import against_design, nearest_design
from eos_platform.dashboards.app.kept import WAIT, kept_part
from eos_platform.dashboards.app.parts import (
    copyable,
    interval,
    number,
    others,
    percent,
    plain_table,
    shown,
    value,
    waiting,
)
from eos_platform.dashboards.comparison import compared_skills
from eos_platform.dashboards.curves import ACROSS, curves_figure
from eos_platform.dashboards.operator import operator_figure
from eos_platform.dashboards.palette import operator_styles
from eos_platform.dashboards.text import short
from eos_platform.protocols import Objective

WAITING = "Loading the operator …"
WHY = {
    "complete": "It removes nothing.",
    "running": "Its search is still running.",
    "pruned": "Its search was stopped early, because others were better at that point.",
    "interrupted": "Its search was interrupted.",
}


def layout() -> list[Any]:
    """The page."""
    return [
        html.Div(waiting(WAITING), id="operator-body"),
        # the place once more, when what stands at the top is there: the rest is made and drawn after it
        dcc.Store(id="operator-shown"),
        html.Div(id="operator-search", className="wide"),
        notes.layout(),
        html.Div(id="operator-kept"),
        dcc.Interval(id="operator-wait", interval=WAIT, disabled=True),
    ]


def skills_of(row: dict[str, Any]) -> pd.DataFrame:
    """``skills_beside``'s rows of one operator."""
    return pd.DataFrame(
        [
            {"operator": row["name"], "skill": str(name).removeprefix("skill:"), "accuracy": value}
            for name, value in row.items()
            if str(name).startswith("skill:") and not pd.isna(value)
        ],
        columns=["operator", "skill", "accuracy"],
    )


def why_no_skills(rows: Sequence[Mapping[str, Any]]) -> str:
    """Why there is no accuracy by skill of any of these."""
    if any(row["measured_on"] == "held-out" for row in rows):
        return "The task has only one kind of question"
    return "Measured on held-out questions,<br>for the front and the designs,<br>when the study ends"


def register(app: dash.Dash, studies: Any) -> None:
    """Its callbacks."""
    notes.register(app, studies)

    @app.callback(
        Output("operator-body", "children"),
        Output("operator-shown", "data"),
        Input("at-operator", "data"),
        Input("theme", "data"),
    )
    def _show(where: dict[str, Any] | None, theme: str | None) -> Any:
        return _body(where, theme) if where else waiting(WAITING), where

    def _body(where: dict[str, Any], theme: str | None) -> Any:
        study, key = where["study"], where["run"]
        operators = studies.operators(study)
        rows = operators[operators["key"] == key].to_dict("records")
        if not rows:
            return html.P(f"No operator '{key}' in this study.", className="note")
        row = rows[0]
        diagram = studies.diagram(study, key)
        settings = studies.varied(study) if not pd.isna(row["trial"]) else []
        design = (
            nearest_design(operators, row) if row["family"] == "searched" and not pd.isna(row["accuracy"]) else None
        )
        gap = studies.difference(study, key, design["key"]) if design else None
        beside = {"compared with the nearest design": against_design(gap, design)} if design else {}
        style = operator_styles(
            [(str(row["name"]), row["family"], row["design"] if isinstance(row["design"], str) else "")]
        )
        colour = style[str(row["name"])].colour
        parts: list[Any] = [
            _head(row, where, operators),
            _facts(row, studies.axes(study), beside),
            _varied(row, settings),
        ]
        if diagram is None:
            why = f"It failed: {row['failure']}" if isinstance(row["failure"], str) else WHY.get(row["state"], "")
            parts.append(html.P(f"No operator file. {why}", className="note"))
        else:
            layers, sites = diagram
            words = "; ".join(
                f"before {site['place']} layer {site['layer']}: {site['regime']} {site['before']} to {site['after']}"
                for site in sites.to_dict("records")
            )
            parts.append(
                html.Div(
                    [
                        shown(
                            operator_figure(layers, sites, colour=colour),
                            theme,
                            f"Visual tokens by layer. {words}",
                            "operator-diagram",
                        ),
                        shown(
                            compared_skills(skills_of(row), styles=style, empty=why_no_skills([row])),
                            theme,
                            "Accuracy by skill",
                            "operator-skills",
                        ),
                    ],
                    className="two",
                )
            )
            parts.append(_sites(sites))
            parts.append(_take_home(studies.commands(study, key)))
        return parts

    @app.callback(
        Output("operator-search", "children"),
        Input("operator-shown", "data"),
        State("theme", "data"),
        State("narrow", "data"),
        prevent_initial_call=True,
    )
    def _search(where: dict[str, Any] | None, theme: str | None, narrow: bool | None) -> Any:
        """The curves, which take as long as all of the rest."""
        if not where:
            return None
        operators = studies.operators(where["study"])
        if operators.loc[operators["key"] == where["run"], "trial"].notna().any():
            figure = curves_figure(studies.curves(where["study"], where["run"]), across=1 if narrow else ACROSS)
            return shown(figure, theme, "Curves over the steps of the search, relaxed form", "operator-curves")
        return None

    @app.callback(
        Output("operator-kept", "children"),
        Output("operator-wait", "disabled"),
        Input("operator-shown", "data"),
        Input("operator-wait", "n_intervals"),
        prevent_initial_call=True,
    )
    def _kept(where: dict[str, Any] | None, waited: int | None) -> tuple[Any, bool]:
        if not where:
            return None, True
        operators = studies.operators(where["study"])
        if where["run"] not in set(operators["key"]):
            return None, True
        rows, pictures, why = studies.kept(where["study"], [where["run"]])
        return kept_part(rows, pictures, why)


def _head(row: dict[str, Any], where: dict[str, Any], operators: pd.DataFrame) -> html.Div:
    front = operators[operators["front"]].sort_values("compute_ratio")["key"].tolist()
    steps = []
    if row["key"] in front:
        at = front.index(row["key"])
        if at:
            steps.append(dcc.Link("← cheaper on the front", href=link(where, run=front[at - 1])))
        if at + 1 < len(front):
            steps.append(dcc.Link("more expensive on the front →", href=link(where, run=front[at + 1])))
    beside = [key for key in where["with"] if key != row["key"]] + [row["key"]]
    steps.append(
        dcc.Link("Add to comparison", href=link(where, view="compare", **{"with": beside}), className="button")
    )
    badges = [html.Span(row["family"], className="badge")]
    badges += [html.Span("on the front", className="badge front")] if row["front"] else []
    return html.Div([html.H2([str(row["name"]), " ", *badges]), html.Div(steps, className="steps")], className="head")


def _facts(row: dict[str, Any], axes: Sequence[Objective], further: Mapping[str, str]) -> html.Dl:
    on = f" ({row['measured_on']})" if isinstance(row["measured_on"], str) else ""
    facts = {
        f"accuracy{on}": percent(row["accuracy"]) or str(row["state"]),
        "95 % interval (%)": interval(row),
        "validation accuracy": percent(row["validation"]) if row["measured_on"] != "validation" else "",
        "compute ratio": number(row["compute_ratio"]),
        "mean visual tokens": number(row["mean_tokens"], ".1f"),
        "tokens left": number(row["tokens_left"], ".0f"),
        **{one.label: value(row, one) for one in others(axes)},
        "regime": row["regime"] if isinstance(row["regime"], str) else "",
        "search time": number(row["seconds"], ".0f") + " s" if not pd.isna(row["seconds"]) else "",
        "seed": number(row["seed"], ".0f") if not pd.isna(row["trial"]) else "",
        **further,
    }
    return html.Dl(
        [html.Div([html.Dt(name), html.Dd(value)]) for name, value in facts.items() if value], className="facts"
    )


def _varied(row: dict[str, Any], fields: Sequence[str]) -> Any:
    """What the study varied, as this trial had it."""
    known = {name: row.get(f"params.{name}") for name in fields}
    settings = [(name, short(value)) for name, value in known.items() if isinstance(value, str)]
    if not settings:
        return None
    return html.Div(
        [
            html.H3("Settings varied by the study", id="operator-settings-head"),
            html.Dl([html.Div([html.Dt(name), html.Dd(value)]) for name, value in settings], className="facts"),
        ],
        id="operator-settings",
        className="settings",
    )


def _sites(sites: pd.DataFrame) -> html.Div:
    lines = [
        [
            f"before {site['place']} layer {site['layer']}",
            f"{site['before']} → {site['after']}",
            site["regime"],
            " · ".join(filter(None, [site["selector"], site["what"]])),
            site["transfer"],
            site["compensation"],
        ]
        for site in sites.to_dict("records")
    ]
    columns = ("site", "tokens", "regime", "selector and features", "transfer", "compensation")
    return plain_table(columns, lines, "Sites, in order")


def _take_home(commands: dict[str, str]) -> html.Div:
    return html.Div(
        [
            html.H3("Use this operator"),
            copyable("Attach in Python", commands["attach"], "copy-attach"),
            copyable("Evaluate", commands["cli"], "copy-cli"),
            copyable("Explain", commands["explain"], "copy-explain"),
            html.P(html.A("Run in MLflow", href=commands["link"], target="_blank", rel="noopener", id="mlflow-link")),
        ],
        className="take-home",
    )
