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

from eos_platform.dashboards.palette import FAMILIES, GRID, INK, MUTED, colour_of, design_styles, rgba, theme
from eos_platform.dashboards.text import escape, records
from eos_platform.objectives import ACCURACY
from eos_platform.protocols import Objective

SYMBOLS = {"searched": "circle", "hand-designed": "diamond", "unreduced": "star"}
SCALE = "Viridis"
SYMBOLS_3D = {"searched": "circle", "hand-designed": "diamond", "unreduced": "cross"}
MANY = 600  # points beyond which the GPU draws them, without intervals
EMPTY = "No operator measured yet"
COLUMNS = ("name", "family", "design", "key", "measured_on", "accuracy_low", "accuracy_high")
# of searched operators, those off the front and those on it: by the study's own axes, and on others
NAMES = {True: ("dominated", "Pareto front"), False: ("off the study's front", "on the study's front")}


def objectives_figure(
    points: pd.DataFrame,
    title: str,
    axes: Sequence[Objective],
    *,
    own: bool = True,
    bars: bool = True,
    height: int | None = 720,
    empty: str = EMPTY,
) -> go.Figure:
    """Every operator whose objectives are all known; the searched ones that no other searched one dominates are large.

    Args:
        own: the axes are all of the study's objectives. Of two, a line joins its front; on other axes the front of the
            study is still marked, but none in this plane.
        bars: draw the 95 % intervals of accuracy.

    Raises:
        ValueError: a family that is none of the three.
    """
    metrics = [one.metric for one in axes]
    drawn = points.reindex(columns=list(dict.fromkeys([*points.columns, *COLUMNS, *metrics])))
    strange = sorted(set(drawn["family"].dropna().astype(str)) - set(FAMILIES))
    if strange:
        raise ValueError(f"unknown family '{strange[0]}'; known: {', '.join(FAMILIES)}")
    for metric in (*metrics, "accuracy_low", "accuracy_high"):
        drawn[metric] = pd.to_numeric(drawn[metric], errors="coerce").astype(float)
    known = np.isfinite(drawn[metrics].to_numpy(float)).all(axis=1)
    drawn = drawn.loc[known].reset_index(drop=True)
    figure = go.Figure()
    for family in FAMILIES:
        rows = drawn[drawn["family"] == family]
        if family == "searched":
            front = _front(rows, axes)
            names = [
                f"{name}{_questions(part)}" for name, part in zip(NAMES[own], (rows[~front], rows[front]), strict=True)
            ]
            _add(figure, rows[~front], axes, names[0], family, bars=bars, size=8, opacity=0.45)
            _add(figure, rows[front], axes, names[1], family, bars=bars, line=own and len(axes) == 2, size=13)
        elif family == "hand-designed":  # each design as it is in every other figure
            design = rows["design"].where(rows["design"].notna() & (rows["design"] != ""), rows["name"]).astype(str)
            for name, style in design_styles(design).items():
                look: dict[str, Any] = (
                    {"symbol": style.symbol} if len(axes) > 2 else {"color": style.colour, "symbol": style.symbol}
                )
                _add(figure, rows[design == name], axes, escape(name), family, bars=bars, size=10, **look)
        else:
            _add(figure, rows, axes, "unreduced model", family, bars=bars, size=12)
    y, x, *third = axes
    figure.update_layout(theme(escape(title)))
    figure.update_xaxes(title_text=_label(x), tickformat=x.ticks)
    figure.update_yaxes(title_text=_label(y), tickformat=y.ticks)
    if third:
        side = {"text": escape(third[0].label), "side": "right"}
        bar = {"title": side, "tickformat": third[0].ticks, "thickness": 14}
        figure.update_layout(coloraxis={"colorscale": SCALE, "colorbar": bar})
    # beside the scale of a third objective there is no place for the legend
    above = {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"}
    legend = above if third else {"x": 1.015, "y": 1}
    figure.update_layout(showlegend=True, hovermode="closest", height=height, legend=legend)
    if drawn.empty:
        figure.add_annotation(text=empty, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font_size=18)
    return figure


def space_figure(
    points: pd.DataFrame,
    title: str,
    *,
    axes: Sequence[Objective],
    own: bool = True,
    height: int | None = 720,
    empty: str = EMPTY,
) -> go.Figure:
    """The same in three dimensions: the first of the axes upwards; to be turned by dragging."""
    figure = objectives_figure(points, title, axes, own=own, bars=False, height=height, empty=empty)
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
                    "size": 4 if trace.meta["family"] == "hand-designed" or trace.meta["front"] is False else 7,
                    "opacity": 0.45 if trace.meta["front"] is False else 1.0,
                },
            )
        )
    side = {"gridcolor": GRID, "color": INK, "showbackground": False, "tickfont": {"size": 12}}
    figure.update_layout(
        coloraxis=None,
        legend={"x": 1.015, "y": 1, "orientation": "v", "yanchor": "top", "itemsizing": "constant"},
        scene={
            "xaxis": {**side, "title": {"text": escape(x.label)}, "tickformat": x.ticks},
            "yaxis": {**side, "title": {"text": escape(z.label)}, "tickformat": z.ticks},
            "zaxis": {**side, "title": {"text": escape(y.label)}, "tickformat": y.ticks},
            # from so far that the names of the axes are within the picture
            "camera": {"eye": {"x": 1.55, "y": 1.55, "z": 0.95}, "center": {"x": 0, "y": 0, "z": -0.16}},
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


def _questions(rows: pd.DataFrame) -> str:
    """What all of them were measured on, in brackets; empty where that is not known, or not one thing."""
    known = rows["measured_on"].dropna().unique()
    return f" ({escape(str(known[0]))})" if len(known) == 1 else ""


def _add(
    figure: go.Figure,
    rows: pd.DataFrame,
    axes: Sequence[Objective],
    name: str,
    family: str,
    *,
    bars: bool,
    line: bool = False,
    **marker: Any,
) -> None:
    """A trace; of several axes the third is its colour. Searched ones off the front come before those on it."""
    if rows.empty:
        return
    y, x, *third = axes
    rows = rows.sort_values([x.metric, y.metric], kind="stable")
    # an edge: the dark end of the scale is all but black, and in a legend such markers are
    edge = {"color": MUTED, "width": 1.2}
    colour = {"color": rows[third[0].metric].tolist(), "coloraxis": "coloraxis", "line": edge} if third else {}
    front = None if family != "searched" else "opacity" not in marker
    own = colour.get("color") if third else marker.get("color", FAMILIES[family])
    # a staircase: between two operators there is none but the one that reaches less
    stairs = {"shape": "hv" if x.sign < 0 else "vh", "color": FAMILIES[family], "width": 2.6}
    figure.add_trace(
        (go.Scattergl if len(rows) > MANY and not line else go.Scatter)(
            x=rows[x.metric].tolist(),
            y=rows[y.metric].tolist(),
            ids=rows["key"].astype(str).tolist() if rows["key"].notna().all() else None,
            mode="lines+markers" if line else "markers",
            name=name,
            meta={"family": family, "design": name if family == "hand-designed" else "", "front": front},
            marker={"color": FAMILIES[family], "symbol": SYMBOLS[family], **marker, **colour},
            customdata=[_hover(row, axes) for row in records(rows)],
            hovertemplate="%{customdata}<extra></extra>",
            **({"line": stairs} if line else {}),
            **(_bars(rows, axes, MUTED if third else str(own)) if bars else {}),
        )
    )


def _bars(rows: pd.DataFrame, axes: Sequence[Objective], colour: str) -> dict[str, Any]:
    """The intervals of accuracy, on whichever of the first two axes it is."""
    for one, side in zip(axes, ("error_y", "error_x"), strict=False):
        if one.metric == ACCURACY and rows["accuracy_low"].notna().any() and len(rows) <= MANY:
            ends = {
                "array": rows["accuracy_high"] - rows[ACCURACY],
                "arrayminus": rows[ACCURACY] - rows["accuracy_low"],
            }
            lengths = {name: values.clip(lower=0).fillna(0).tolist() for name, values in ends.items()}
            return {
                side: {
                    "type": "data",
                    "symmetric": False,
                    "color": rgba(colour, 0.55),
                    "thickness": 1.2,
                    "width": 3,
                    **lengths,
                }
            }
    return {}


def _hover(row: Mapping[str, Any], axes: Sequence[Objective]) -> str:
    lines = [f"{escape(one.label)} {one.show(row[one.metric])}" for one in axes]
    return "<br>".join([f"<b>{escape(str(row['name']))}</b>", *lines])
