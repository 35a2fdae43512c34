"""Accuracy against compute on several models: searched operators beside the best design, small multiples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from eos_platform.dashboards.palette import FAMILIES, GRID, INK, SEARCHED, UNREDUCED, rgba, theme
from eos_platform.dashboards.text import escape

DESIGNS = FAMILIES["hand-designed"]
WIDTH, ACROSS, ROW, HEAD, FOOT = 1000, 3, 300, 104, 66
LEFT, RIGHT = 0.09, 0.33  # compute ratio
TICKS = (0.1, 0.15, 0.2, 0.3)


def other_models_figure(cells: pd.DataFrame, panels: Mapping[str, str], title: str, subtitle: str = "") -> go.Figure:
    """A panel a model: every seed of the searches and their mean, the best design (tuned or not), the unreduced model.

    Args:
        cells: rows with ``model``, ``kind`` (portfolio, designs, unreduced), ``ratio`` and ``heldout`` (shares of 1).
        panels: what a panel is called, by model.
    """
    rows = -(-len(panels) // ACROSS)
    figure = make_subplots(
        rows,
        ACROSS,
        subplot_titles=[f"<b>{escape(name)}</b>" for name in panels.values()],
        horizontal_spacing=0.05,
        vertical_spacing=0.16,
    )
    figure.update_layout(theme(escape(title), escape(subtitle)))
    height = HEAD + 26 + FOOT + rows * ROW
    figure.update_layout(
        width=WIDTH,
        height=height,
        legend=_legend(len(panels)),
        margin={"l": 64, "r": 24, "t": HEAD + 26, "b": FOOT},
        title={"y": 1 - 22 / height, "yref": "container"},
    )
    figure.update_annotations(font={"size": 15, "color": INK}, yshift=2)
    for number, model in enumerate(panels):
        _panel(figure, cells[cells["model"] == model], {"row": number // ACROSS + 1, "col": number % ACROSS + 1})
    figure.update_xaxes(
        type="log",
        range=[math.log10(LEFT), math.log10(RIGHT)],
        tickvals=TICKS,
        ticktext=[f"{100 * tick:g} %" for tick in TICKS],
        tickangle=0,
        gridcolor=GRID,
        showline=False,
        ticks="",
    )
    figure.update_yaxes(range=[25, 102], ticksuffix=" %", gridcolor=GRID, showline=False, ticks="")
    figure.add_annotation(
        text="compute ratio (log scale); accuracy on held-out questions",
        showarrow=False,
        xref="paper",
        yref="paper",
        x=0.5,
        y=0,
        yanchor="top",
        yshift=-34,
        font={"size": 15, "color": INK},
    )
    return figure


def _legend(panels: int) -> dict[str, Any]:
    """In the place of a panel that is missing, else in a line below the title."""
    if panels % ACROSS:
        return {"x": 0.7, "y": 0.22, "xanchor": "left", "yanchor": "middle", "font": {"size": 15}}
    return {"x": 1, "y": 1.07, "xanchor": "right", "yanchor": "bottom", "orientation": "h"}


def _panel(figure: go.Figure, cells: pd.DataFrame, place: Mapping[str, int]) -> None:
    whole = 100 * cells.loc[cells["kind"] == "unreduced", "heldout"].max()
    dashed = {"color": UNREDUCED, "width": 1.3, "dash": "dash"}
    first = place == {"row": 1, "col": 1}  # one legend for all panels
    figure.add_trace(
        go.Scatter(x=[LEFT, RIGHT], y=[whole, whole], mode="lines", line=dashed, name="unreduced", showlegend=first),
        **place,
    )
    searched = cells[cells["kind"] == "portfolio"]
    means = 100 * searched.groupby("ratio")["heldout"].mean()
    best = 100 * cells[cells["kind"] == "designs"].groupby("ratio")["heldout"].max()
    for values, colour, name in ((means, SEARCHED, "searched, mean"), (best, DESIGNS, "best design")):
        figure.add_trace(
            go.Scatter(
                x=values.index.tolist(),
                y=values.tolist(),
                mode="lines+markers",
                line={"color": colour, "width": 2.5},
                name=name,
                showlegend=first,
            ),
            **place,
        )
    figure.add_trace(
        go.Scatter(
            x=searched["ratio"].tolist(),
            y=(100 * searched["heldout"]).tolist(),
            mode="markers",
            marker={"color": rgba(SEARCHED, 0.55), "size": 6},
            name="searched, each seed",
            showlegend=first,
        ),
        **place,
    )
