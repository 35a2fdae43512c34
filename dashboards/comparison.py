"""A few operators beside each other: accuracy by skill, and visual tokens by layer.

``skills`` has one row for every (operator, skill): ``operator`` (a name), ``skill``, ``accuracy`` (share of 1).
``styles`` are those of all operators of the page (``palette.operator_styles``), so that one looks the same in all its
figures; without them, all count as searched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd
import plotly.graph_objects as go

from eos_platform.dashboards.palette import GRID, MUTED, Style, operator_styles, theme
from eos_platform.dashboards.text import escape

ROW = 30  # pixels
NONE: Mapping[str, Style] = {}


def _styles(styles: Mapping[str, Style], names: Iterable[str]) -> dict[str, Style]:
    """Those given first, in their order."""
    return {**operator_styles((name, "searched", None) for name in names if name not in styles), **styles}


def _head(names: Iterable[str]) -> int:
    """Pixels for the title and a legend under it, in as many rows as half a laptop's page needs for it."""
    known = list(names)
    column = 46 + 7.5 * max(map(len, known), default=1)
    rows = -(-len(known) // max(1, int(560 // column)))
    return 64 + 20 * max(1, rows)


def compared_skills(
    skills: pd.DataFrame,
    title: str = "Accuracy by skill",
    styles: Mapping[str, Style] = NONE,
    empty: str = "No score by skill was measured",
) -> go.Figure:
    """A line a skill, a mark an operator; operators told apart by symbol and colour, a thin line between the marks."""
    look = theme(escape(title))
    if skills.empty:
        said = {"text": empty, "x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper", "showarrow": False}
        hidden = {"xaxis": {"visible": False}, "yaxis": {"visible": False}}
        return go.Figure(layout={**look, **hidden, "height": 200, "annotations": [{**said, "font": {"size": 15}}]})
    order = skills.groupby("skill")["accuracy"].mean().sort_values().index.tolist()
    least = skills.groupby("skill")["accuracy"].min().astype(float).to_dict()
    most = skills.groupby("skill")["accuracy"].max().astype(float).to_dict()
    x: list[float | None] = []
    y: list[str | None] = []
    for skill in order:
        x += [100 * least[skill], 100 * most[skill], None]
        y += [escape(skill), escape(skill), None]
    between = {"color": MUTED, "width": 1}
    traces = [go.Scatter(x=x, y=y, mode="lines", line=between, showlegend=False, hoverinfo="skip")]
    styles = _styles(styles, skills["operator"])
    only = len(styles) == 1
    for name, rows in skills.groupby("operator", sort=False):
        style = styles[str(name)]
        traces.append(
            go.Scatter(
                x=(100 * rows["accuracy"]).tolist(),
                y=[escape(str(skill)) for skill in rows["skill"]],
                mode="markers+text" if only else "markers",
                text=[f"  {100 * share:.0f}" for share in rows["accuracy"]] if only else None,
                textposition="middle right",
                name=escape(str(name)),
                marker={"color": style.colour, "symbol": style.symbol, "size": 13, "opacity": 0.9},
                hovertemplate="%{y}: %{x:.1f} %<extra>%{fullData.name}</extra>",
                cliponaxis=False,
            )
        )
    head = 84 if only else _head(styles)
    height = 66 + head + ROW * len(order)
    low = max(0.0, 100 * float(skills["accuracy"].min()) - 8)
    names = {"categoryorder": "array", "categoryarray": [escape(skill) for skill in order], "automargin": True}
    layout = {
        **look,
        "height": height,
        "margin": {"l": 20, "r": 46, "t": head, "b": 60},
        "showlegend": not only,
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"size": 13}},
        "title": {**look["title"], "y": 1 - 20 / height, "yref": "container"},
        "xaxis": {
            **look["xaxis"],
            "title": {**look["xaxis"]["title"], "text": "accuracy (%), held-out questions"},
            "range": [low, 102],
        },
        "yaxis": {**look["yaxis"], **names},
    }
    return go.Figure(traces, layout)  # in one step: every update_layout takes Plotly as long as this


def staircases(
    layers: pd.DataFrame, title: str = "Visual tokens by layer", styles: Mapping[str, Style] = NONE
) -> go.Figure:
    """Tokens entering each decoder layer (``operator``, ``layer``, ``tokens``), a step line an operator."""
    figure = go.Figure()
    figure.update_layout(theme(escape(title)))
    styles = _styles(styles, layers["operator"])
    operators = layers["operator"].nunique()
    for place, (name, rows) in enumerate(layers.groupby("operator", sort=False)):
        style = styles[str(name)]
        figure.add_trace(
            go.Scatter(
                x=rows["layer"].tolist(),
                y=rows["tokens"].tolist(),
                mode="lines+markers",
                name=escape(str(name)),
                # lines that coincide: the first drawn are wider and show behind the others
                line={
                    "color": style.colour,
                    "width": 2.4 + 1.4 * min(3, operators - 1 - place),
                    "shape": "hvh",
                    "dash": style.dash,
                },
                marker={"symbol": style.symbol, "size": 10 + 1.5 * min(3, operators - 1 - place)},
                hovertemplate="layer %{x}: %{y} tokens<extra>%{fullData.name}</extra>",
            )
        )
    head = _head(styles)
    height = 276 + head
    figure.update_layout(
        height=height,
        margin={"l": 70, "r": 20, "t": head, "b": 60},
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"size": 13}},
        title={"y": 1 - 20 / height, "yref": "container"},
    )
    last = int(layers["layer"].max()) if len(layers) else 1
    figure.update_xaxes(title_text="decoder layer", dtick=max(1, round((last + 1) / 16)), range=[-0.5, last + 0.5])
    figure.update_yaxes(title_text="visual tokens entering", rangemode="tozero", gridcolor=GRID)
    return figure
