"""A search on its way: each of its curves against the step, in a small plot of its own.

``curves`` has one row a value: ``curve`` (a name), ``step``, ``value``. They are of the relaxed form.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from eos_platform.dashboards.palette import GRID, MUTED, SEARCHED, theme
from eos_platform.dashboards.text import escape

ACROSS, ROW, HEAD = 3, 170, 96  # plots a row; pixels of a row, and above the first
GAP = 0.07  # between two plots of a row


def curves_figure(
    curves: pd.DataFrame, title: str = "Progress of the search (relaxed form)", across: int = ACROSS
) -> go.Figure:
    """A plot a curve, in the order of their names; ``across`` of them in a row."""
    names = sorted(curves["curve"].unique()) if len(curves) else []
    several = [name for name in names if (curves["curve"] == name).sum() > 1]
    names = several or names  # what was logged once is no curve, but a result
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
    across = min(across, len(names))
    rows = -(-len(names) // across)
    height = HEAD + ROW * rows + 40
    last = float(curves["step"].max()) or 1.0
    gap = min(0.3, 62 / max(1, height - HEAD))
    wide, tall = (1 - GAP * (across - 1)) / across, (1 - gap * (rows - 1)) / rows
    x = {"gridcolor": GRID, "zeroline": False, "range": [-0.03 * last, 1.02 * last]}  # the same steps in each
    y = {"gridcolor": GRID, "zeroline": False, "exponentformat": "power"}
    traces, axes, heads = [], {}, []
    for place, name in enumerate(names):
        mine = curves[curves["curve"] == name].sort_values("step")
        number = str(place + 1) if place else ""
        left, top = (place % across) * (wide + GAP), 1 - (place // across) * (tall + gap)
        foot = {"title": {"text": "step", "font": {"size": 13}}} if place // across == rows - 1 else {}
        axes[f"xaxis{number}"] = {**x, **foot, "anchor": f"y{number}", "domain": [left, min(1.0, left + wide)]}
        axes[f"yaxis{number}"] = {**y, "anchor": f"x{number}", "domain": [max(0.0, top - tall), top]}
        at = {
            "x": left + wide / 2,
            "y": top,
            "xref": "paper",
            "yref": "paper",
            "xanchor": "center",
            "yanchor": "bottom",
        }
        heads.append({**at, "text": escape(_words(name)), "showarrow": False, "font": {"size": 16}})
        traces.append(
            {
                "type": "scatter",
                "x": mine["step"].tolist(),
                "y": mine["value"].tolist(),
                "xaxis": f"x{number}",
                "yaxis": f"y{number}",
                "mode": "lines+markers" if len(mine) < 30 else "lines",
                "line": {"color": SEARCHED, "width": 2},
                "marker": {"size": 5},
                "name": escape(_words(name)),
                "hovertemplate": "step %{x}: %{y:.4g}<extra>%{fullData.name}</extra>",
            }
        )
    look = theme(escape(title))
    look = {name: value for name, value in look.items() if name not in ("xaxis", "yaxis")}
    layout: dict[str, Any] = {
        **look,
        **axes,
        "annotations": heads,
        "title": {**look["title"], "y": 1 - 20 / height, "yref": "container"},
        "height": height,
        "margin": {"l": 60, "r": 20, "t": HEAD, "b": 48},
        "showlegend": False,
    }
    # in one step, and without ``make_subplots``: it takes as long as all the rest, and each ``update_layout`` too
    return go.Figure(traces, layout)


def _words(name: object) -> str:
    return str(name).replace("_", " ")
