"""Accuracy by kind of question: operators down, skills across, a menu for the compute ratio.

``points`` has one row an operator: ``name``, ``family``, ``ratio`` (asked for; unknown for the unreduced model and
others at a compute of their own), ``accuracy``, and a column ``skill:<name>`` for every skill (shares of 1).
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from eos_platform.dashboards.palette import INK, theme
from eos_platform.dashboards.text import escape

SCALE = [[0.0, "#fdf3e1"], [0.35, "#f4c58a"], [0.65, "#7fb8a4"], [0.85, "#3a8fb7"], [1.0, "#0b4f86"]]
ROW, HEAD = 24, 190  # pixels
ROWS = 8  # from so many on a scale stands beside them


def skills_figure(points: pd.DataFrame, title: str = "Accuracy by skill") -> go.Figure:
    """The heat map; the largest ratio is shown first."""
    names = [str(column) for column in points.columns if str(column).startswith("skill:")]
    figure = go.Figure()
    figure.update_layout(theme(escape(title), "per cent correct; rows ordered by overall accuracy"))
    if not names or points.empty:
        figure.add_annotation(
            text="No skill measured yet", x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font_size=18
        )
        return figure
    ratios: list[float | None] = sorted(points["ratio"].dropna().unique(), reverse=True)
    loose = points[points["ratio"].isna()]
    buttons, tallest = [], 0
    for number, ratio in enumerate(ratios or [None]):
        rows = loose if ratio is None else pd.concat([loose, points[points["ratio"] == ratio]])
        rows = rows.sort_values("accuracy", ascending=True, kind="stable")  # the first row of a heat map is at the foot
        figure.add_trace(_map(rows, names, visible=number == 0))
        tallest = max(tallest, len(rows))
        shown = [other == number for other in range(len(ratios))]
        buttons.append({"label": f"ratio {ratio:g}" if ratio else "", "method": "update", "args": [{"visible": shown}]})
    height = HEAD + ROW * max(tallest, 3)
    figure.update_layout(
        height=height,
        margin={"l": 20, "r": 30, "t": HEAD - 20, "b": 20},
        title={"y": 1 - 26 / height, "yref": "container"},
    )
    figure.update_xaxes(side="top", showgrid=False, showline=False, ticks="", title_text="", tickangle=-35)
    figure.update_yaxes(showgrid=False, showline=False, ticks="", title_text="", automargin=True)
    if len(buttons) > 1:
        figure.update_layout(updatemenus=[menu(buttons)])
    return figure


def menu(buttons: list[dict[str, Any]], *, x: float = 1.0, y: float = 1.0) -> dict[str, Any]:
    """A drop-down at the top right."""
    return {
        "buttons": buttons,
        "x": x,
        "xanchor": "right",
        "y": y,
        "yanchor": "bottom",
        "pad": {"b": 100},
        "bgcolor": "white",
        "font": {"size": 13, "color": INK},
        "showactive": True,
    }


def _map(rows: pd.DataFrame, names: list[str], *, visible: bool) -> go.Heatmap:
    columns = ["accuracy", *names]
    percent = 100 * rows[columns].astype(float) if len(rows) else rows.reindex(columns=columns)
    text = percent.map(lambda share: "" if pd.isna(share) else f"{share:.0f}")
    labels = [
        f"<b>{escape(str(row['name']))}</b>" if row["family"] == "searched" else escape(str(row["name"]))
        for row in rows.to_dict("records")
    ]
    return go.Heatmap(
        z=percent.to_numpy(float),
        x=["<b>overall</b>", *(escape(name.removeprefix("skill:")) for name in names)],
        y=labels,
        text=text.to_numpy(str),
        texttemplate="%{text}",
        textfont={"size": 12},
        hovertemplate="%{y}<br>%{x}: %{z:.1f} %<extra></extra>",
        zmin=0,
        zmax=100,
        colorscale=SCALE,
        xgap=1,
        ygap=1,
        visible=visible,
        showscale=len(rows) >= ROWS,  # every cell has its number; beside a few rows a scale is a smear
        colorbar={"title": {"text": "%"}, "thickness": 12, "len": 0.5, "y": 1, "yanchor": "top"},
    )
