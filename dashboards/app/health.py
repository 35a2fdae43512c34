"""How the study goes: counts and time left, hypervolume, what matters, everything at once."""

from __future__ import annotations

from typing import Any

import dash
from dash import Input, Output, State, dcc, html

from eos_platform.dashboards.app.parts import aria, drawn, field, graph, plain_table
from eos_platform.dashboards.health import (
    hypervolume_figure,
    importance_figure,
    parallel_figure,
    states_figure,
    why_nothing,
)

FAILURES = 20  # shown
OPTUNA = [
    {"value": "history", "label": "history of the objective"},
    {"value": "timeline", "label": "timeline of the trials"},
    {"value": "slice", "label": "objective by each setting"},
    {"value": "contour", "label": "objective by pairs of settings"},
    {"value": "rank", "label": "rank by pairs of settings"},
]


def layout() -> list[Any]:
    """The page."""
    return [
        html.Div(id="health-cards", role="status", className="cards", **aria(live="polite")),
        html.Div(
            [
                graph("health-volume", "Hypervolume over time", style={"height": "360px"}),
                graph("health-states", "Trials that ended over time, by outcome", style={"height": "360px"}),
                graph("health-importance", "Importance of the varied parameters", style={"height": "360px"}),
            ],
            className="three",
        ),
        graph("health-parallel", "Parallel coordinates of all trials", style={"height": "420px"}),
        html.P("Click a line to open its trial; drag along an axis to select lines.", className="note"),
        html.Div(
            [
                field(
                    "Optuna's figures",
                    dcc.Dropdown(id="health-figure", options=OPTUNA, value="history", clearable=False),
                ),
                field("Objective", dcc.Dropdown(id="health-objective", options=[], placeholder="…")),
            ],
            className="row",
        ),
        html.Div(id="health-chosen"),
        html.Div(id="health-failures"),
        dcc.Store(id="health-drawn"),
    ]


def register(app: dash.Dash, studies: Any) -> None:
    """Its callbacks."""

    @app.callback(
        Output("health-cards", "children"),
        Output("health-failures", "children"),
        Input("at-health", "data"),
    )
    def _count(where: dict[str, Any] | None) -> Any:
        if not where:
            raise dash.exceptions.PreventUpdate
        study = where["study"]
        return _cards(studies.remaining(study), studies.facts(study)), _failures(studies.settings(study))

    @app.callback(
        Output("health-volume", "figure"),
        Output("health-states", "figure"),
        Output("health-importance", "figure"),
        Output("health-parallel", "figure"),
        Output("health-drawn", "data"),
        Input("at-health", "data"),
        Input("theme", "data"),
        State("where", "data"),
        State("health-drawn", "data"),
    )
    def _show(at: dict[str, Any] | None, theme: str | None, where: dict[str, Any] | None, before: str | None) -> Any:
        if not at or not where or where["view"] != "health":
            raise dash.exceptions.PreventUpdate
        study = where["study"]
        trials, varied, axes = studies.settings(study), studies.varied(study), studies.axes(study)
        now = f"{study} {theme} {len(trials)} {int(trials['end'].notna().sum())}"
        if now == before:
            raise dash.exceptions.PreventUpdate
        why = why_nothing(trials)
        figures = (
            hypervolume_figure(studies.progress(study), axes=axes, empty=why),
            states_figure(trials, empty=why),
            importance_figure(studies.importance(study)),
            parallel_figure(trials, varied, axes=axes, log=studies.log_varied(study), empty=why),
        )
        return *(drawn(figure, theme, study) for figure in figures), now

    @app.callback(
        Output("health-chosen", "children"),
        Output("health-objective", "options"),
        Output("health-objective", "placeholder"),
        Input("at-health", "data"),
        Input("theme", "data"),
        Input("health-figure", "value"),
        Input("health-objective", "value"),
        State("where", "data"),
    )
    def _optuna(
        at: dict[str, Any] | None,
        theme: str | None,
        kind: str | None,
        metric: str | None,
        where: dict[str, Any] | None,
    ) -> Any:
        if not at or not where or where["view"] != "health":
            raise dash.exceptions.PreventUpdate
        study = where["study"]
        kind = kind if kind in [one["value"] for one in OPTUNA] else "history"
        figure = studies.optuna_figure(study, kind, metric or "")
        offered = [{"value": one.metric, "label": one.label} for one in studies.axes(study)]
        plain = drawn(figure, theme, f"{study} {kind} {metric}")
        made = graph(
            "health-optuna",
            f"Optuna's figure: {next(one['label'] for one in OPTUNA if one['value'] == kind)}",
            figure=plain,
            style={"height": "520px"},
        )
        # a graph of its own for each kind: Plotly stumbles over what another has left of its axes
        return html.Div(made, key=kind), offered, offered[0]["label"]


def _cards(counts: dict[str, Any], facts: dict[str, Any]) -> list[Any]:
    cards = {name: str(counts[name]) for name in ("complete", "running", "pruned", "failed")}
    planned = f"{counts['done']} of {counts['target']}" if counts["target"] else str(counts["done"])
    over = not counts["left"] or facts["state"] != "running"
    left = "none" if over else duration(counts["eta"]) if counts["eta"] is not None else "unknown"
    cards = {"trials done": planned, **cards, "time left": left, "study": facts["state"]}
    return [
        html.Div(
            [html.Span(value, className="value"), html.Span(name)], className=f"card {name if value != '0' else ''}"
        )
        for name, value in cards.items()
    ]


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def _failures(trials: Any) -> Any:
    failed = trials[trials["failure"].notna()]
    if failed.empty:
        return None
    lines = [[row["name"], row["state"], row["failure"]] for row in failed.tail(FAILURES).to_dict("records")]
    return plain_table(
        ("trial", "state", "reason"), lines, f"Failed trials: {len(failed)}, the last {len(lines)} shown"
    )
