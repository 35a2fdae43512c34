"""The front of any two or three objectives: the first two as axes, the third as colour.

``points`` is as for ``pareto.pareto_figure``, with a column for each objective, by its metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from eos_platform.dashboards.palette import FAMILIES, GRID, INK, colour_of, design_styles, theme
from eos_platform.dashboards.text import escape, records
from eos_platform.protocols import Objective

SYMBOLS = {"searched": "circle", "hand-designed": "diamond", "unreduced": "star"}
SCALE = "Viridis"
SYMBOLS_3D = {"searched": "circle", "hand-designed": "diamond", "unreduced": "cross"}
EMPTY = "No operator measured yet"


def objectives_figure(
    points: pd.DataFrame, title: str, axes: Sequence[Objective], *, height: int | None = 720, empty: str = EMPTY
) -> go.Figure:
    """Every operator whose objectives are all known; the searched ones that no other searched one dominates are large.

    Raises:
        ValueError: a family that is none of the three.
    """
    metrics = [one.metric for one in axes]
    drawn = points.reindex(columns=list(dict.fromkeys([*points.columns, "name", "family", "design", "key", *metrics])))
    strange = sorted(set(drawn["family"].dropna().astype(str)) - set(FAMILIES))
    if strange:
        raise ValueError(f"unknown family '{strange[0]}'; known: {', '.join(FAMILIES)}")
    for metric in metrics:
        drawn[metric] = pd.to_numeric(drawn[metric], errors="coerce").astype(float)
    known = np.isfinite(drawn[metrics].to_numpy(float)).all(axis=1)
    drawn = drawn.loc[known].reset_index(drop=True)
    figure = go.Figure()
    for family in FAMILIES:
        rows = drawn[drawn["family"] == family]
        if family == "searched":
            front = _front(rows, axes)
            _add(figure, rows[~front], axes, "dominated", family, size=8, opacity=0.45)
            _add(figure, rows[front], axes, "Pareto front", family, size=13)
        elif family == "hand-designed":  # each design as it is in every other figure
            design = rows["design"].where(rows["design"].notna() & (rows["design"] != ""), rows["name"]).astype(str)
            for name, style in design_styles(design).items():
                look = {"symbol": style.symbol} if len(axes) > 2 else {"color": style.colour, "symbol": style.symbol}
                _add(figure, rows[design == name], axes, escape(name), family, size=10, **look)
        else:
            _add(figure, rows, axes, family, family, size=11)
    y, x, *third = axes
    figure.update_layout(theme(escape(title), f"colour: {escape(third[0].label)}" if third else ""))
    figure.update_xaxes(title_text=_label(x), tickformat=x.format)
    figure.update_yaxes(title_text=_label(y), tickformat=y.format)
    if third:
        bar = {"title": {"text": escape(third[0].label)}, "tickformat": third[0].format, "thickness": 14, "y": 0.4}
        figure.update_layout(coloraxis={"colorscale": SCALE, "colorbar": {**bar, "len": 0.7}})
    figure.update_layout(showlegend=True, hovermode="closest", height=height, legend={"x": 1.015, "y": 1})
    if drawn.empty:
        figure.add_annotation(text=empty, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font_size=18)
    return figure


def space_figure(
    points: pd.DataFrame,
    title: str,
    *,
    axes: Sequence[Objective],
    height: int | None = 720,
    empty: str = EMPTY,
    **beside: Any,
) -> go.Figure:
    """The same in three dimensions: the first of the axes upwards; to be turned by dragging.

    Args:
        beside: what ``pareto_figure`` takes as well; drawn in two dimensions only.
    """
    figure = objectives_figure(points, title, axes, height=height, empty=empty)
    y, x, z = axes
    flat = list(figure.data)
    figure.data = []
    for trace in flat:
        figure.add_trace(
            go.Scatter3d(
                x=trace.x,
                y=trace.marker.color,  # the third axis, until here drawn as colour
                z=trace.y,
                ids=trace.ids,
                mode="markers",
                name=trace.name,
                customdata=trace.customdata,
                hovertemplate=trace.hovertemplate,
                marker={
                    "color": colour_of(trace.meta["family"], trace.meta["design"]),
                    "symbol": SYMBOLS_3D[trace.meta["family"]],
                    "size": 7 if trace.name == "Pareto front" else 4,
                    "opacity": 0.45 if trace.name == "dominated" else 1.0,
                },
            )
        )
    side = {"gridcolor": GRID, "color": INK, "showbackground": False}
    figure.update_layout(
        coloraxis=None,
        scene={
            "xaxis": {**side, "title": {"text": escape(x.label)}},
            "yaxis": {**side, "title": {"text": escape(z.label)}},
            "zaxis": {**side, "title": {"text": escape(y.label)}},
        },
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def _front(rows: pd.DataFrame, axes: Sequence[Objective]) -> NDArray[np.bool_]:
    """The column ``front`` where it is known; else by comparing all rows."""
    if "front" in rows and rows["front"].notna().all():
        return rows["front"].to_numpy(bool)
    losses_nm = np.stack([-one.sign * rows[one.metric].to_numpy(float) for one in axes], 1)
    better = [((losses_nm <= loss_m).all(1) & (losses_nm < loss_m).any(1)).any() for loss_m in losses_nm]
    return ~np.array(better, dtype=bool)


def _label(objective: Objective) -> str:
    return f"{escape(objective.label)} ({'higher' if objective.sign > 0 else 'lower'} is better)"


def _add(
    figure: go.Figure, rows: pd.DataFrame, axes: Sequence[Objective], name: str, family: str, **marker: Any
) -> None:
    if rows.empty:
        return
    y, x, *third = axes
    colour = {"color": rows[third[0].metric].tolist(), "coloraxis": "coloraxis"} if third else {}
    figure.add_trace(
        go.Scatter(
            x=rows[x.metric].tolist(),
            y=rows[y.metric].tolist(),
            ids=rows["key"].astype(str).tolist() if rows["key"].notna().all() else None,
            mode="markers",
            name=name,
            meta={"family": family, "design": name if family == "hand-designed" else ""},
            marker={"color": FAMILIES[family], "symbol": SYMBOLS[family], **marker, **colour},
            customdata=[_hover(row, axes) for row in records(rows)],
            hovertemplate="%{customdata}<extra></extra>",
        )
    )


def _hover(row: Mapping[str, Any], axes: Sequence[Objective]) -> str:
    lines = [f"{escape(one.label)} {row[one.metric]:{one.format}}" for one in axes]
    return "<br>".join([f"<b>{escape(str(row['name']))}</b>", *lines])
