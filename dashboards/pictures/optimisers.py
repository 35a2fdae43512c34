"""What optimisers still miss of a table's best operators, against what they have spent: a panel a model."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from eos_platform.dashboards.palette import GRID, INK, Style, rgba, theme
from eos_platform.dashboards.text import escape

WIDTH, HEIGHT, HEAD, FOOT = 1000, 480, 110, 96
LEAST = 5e-4  # a run that has everything stands here
STYLES = {
    "random": Style("#8c9196", "x", "dot"),
    "tpe": Style("#009e73", "circle"),
    "nsga2": Style("#9a4fc4", "square"),
    "gp": Style("#d55e00", "diamond"),
    "cma-es": Style("#b8609a", "triangle-up"),
    "mo-asha": Style("#e69f00", "star", "dash"),
}
NAMES = {"random": "random", "tpe": "TPE", "nsga2": "NSGA-II", "gp": "GP", "cma-es": "CMA-ES", "mo-asha": "MO-ASHA"}


def optimisers_figure(table: pd.DataFrame, panels: Mapping[str, str], title: str, subtitle: str = "") -> go.Figure:
    """Lines: means of the seeds; bands: from the worst to the best of them.

    Args:
        table: rows with ``model``, ``method``, ``evaluations`` and the hypervolume's ``mean``, ``worst``, ``best``, as
            shares of that of all operators.
        panels: what a panel is called, by model.
    """
    names = [f"<b>{escape(name)}</b>" for name in panels.values()]
    figure = make_subplots(1, len(panels), subplot_titles=names, horizontal_spacing=0.06, shared_yaxes=True)
    figure.update_layout(theme(escape(title), escape(subtitle)))
    figure.update_layout(
        width=WIDTH,
        height=HEIGHT,
        margin={"l": 76, "r": 24, "t": HEAD, "b": FOOT},
        title={"y": 1 - 22 / HEIGHT, "yref": "container"},
        legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.2, "yanchor": "top", "font": {"size": 14}},
    )
    figure.update_annotations(font={"size": 15, "color": INK}, yshift=2)
    for number, model in enumerate(panels):
        _panel(figure, table[table["model"] == model], number + 1)
    ticks = [5, 10, 20, 50, 100, 200]
    figure.update_xaxes(type="log", tickvals=ticks, tickangle=0, gridcolor=GRID, showline=False, ticks="")
    figure.update_xaxes(title={"text": "evaluations of all questions", "font": {"size": 14}, "standoff": 6})
    shares = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
    figure.update_yaxes(
        type="log", tickvals=shares, ticktext=[f"{100 * share:g} %" for share in shares], gridcolor=GRID,
        showline=False, ticks="",
    )  # fmt: skip
    figure.update_yaxes(title={"text": "hypervolume missed", "font": {"size": 14}}, col=1)
    return figure


def _panel(figure: go.Figure, rows: pd.DataFrame, column: int) -> None:
    place = {"row": 1, "col": column}
    for method, style in STYLES.items():
        mine = rows[rows["method"] == method].sort_values("evaluations")
        if mine.empty:
            continue
        at = mine["evaluations"].tolist()
        missed = {name: (1 - mine[name]).clip(lower=LEAST).tolist() for name in ("mean", "worst", "best")}
        figure.add_trace(
            go.Scatter(
                x=at + at[::-1],
                y=missed["worst"] + missed["best"][::-1],
                mode="lines",
                fill="toself",
                fillcolor=rgba(style.colour, 0.1),
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
            ),
            **place,
        )
        figure.add_trace(
            go.Scatter(
                x=at,
                y=missed["mean"],
                mode="lines+markers",
                line={"color": style.colour, "width": 2.2, "dash": style.dash},
                marker={"symbol": style.symbol, "size": 6, "color": style.colour},
                name=NAMES[method],
                legendgroup=method,
                showlegend=column == 1,
            ),
            **place,
        )
