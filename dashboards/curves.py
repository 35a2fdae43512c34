"""A search on its way: each of its curves against the step, in a small plot of its own.

``curves`` has one row a value: ``curve`` (a name), ``step``, ``value``. They are of the relaxed form.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from eos_platform.dashboards.palette import GRID, MUTED, SEARCHED, theme
from eos_platform.dashboards.text import escape

ACROSS, ROW, HEAD = 3, 170, 96  # plots a row; pixels of a row, and above the first


def curves_figure(curves: pd.DataFrame, title: str = "Progress of the search (relaxed form)") -> go.Figure:
    """A plot a curve, in the order of their names."""
    names = sorted(curves["curve"].unique()) if len(curves) else []
    if not names:
        figure = go.Figure()
        figure.update_layout(theme(escape(title)), height=200)
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
        figure.add_annotation(
            text="No curves were logged: the search was too short, or was not run by this platform",
            x=0.5,
            y=0.5,
            xref="paper",
            yref="paper",
            showarrow=False,
            font={"size": 15, "color": MUTED},
        )
        return figure
    across = min(ACROSS, len(names))
    rows = -(-len(names) // across)
    height = HEAD + ROW * rows + 40
    figure = make_subplots(
        rows,
        across,
        subplot_titles=[escape(str(name)) for name in names],
        vertical_spacing=min(0.3, 62 / max(1, height - HEAD)),
        horizontal_spacing=0.07,
    )
    traces = []
    for name in names:
        mine = curves[curves["curve"] == name].sort_values("step")
        traces.append(
            go.Scatter(
                x=mine["step"].tolist(),
                y=mine["value"].tolist(),
                mode="lines+markers" if len(mine) < 30 else "lines",
                line={"color": SEARCHED, "width": 2},
                marker={"size": 5},
                name=escape(str(name)),
                hovertemplate="step %{x}: %{y:.4g}<extra>%{fullData.name}</extra>",
            )
        )
    places = range(len(names))
    figure.add_traces(traces, [place // across + 1 for place in places], [place % across + 1 for place in places])
    last = float(curves["step"].max()) or 1.0
    x = {"gridcolor": GRID, "zeroline": False, "range": [-0.03 * last, 1.02 * last]}  # the same steps in each
    y = {"gridcolor": GRID, "zeroline": False, "exponentformat": "power"}
    axes: dict[str, Any] = {}
    for place in range(rows * across):
        number = str(place + 1) if place else ""
        foot = {"title": {"text": "step", "font": {"size": 13}}} if place // across == rows - 1 else {}
        axes |= {f"xaxis{number}": {**x, **foot}, f"yaxis{number}": y}
    look = theme(escape(title))
    look = {name: value for name, value in look.items() if name not in ("xaxis", "yaxis")}
    # in one call: each takes Plotly as long as all of this
    figure.update_layout(
        {
            **look,
            **axes,
            "title": {**look.get("title", {}), "y": 1 - 20 / height, "yref": "container"},
            "height": height,
            "margin": {"l": 60, "r": 20, "t": HEAD, "b": 48},
            "showlegend": False,
        }
    )
    return figure
