"""Wrong answers against compute, on log scales: small multiples, one for each way of choosing tokens.

Accuracies near that of the unreduced model lie within a line's width of each other on a linear axis that also has room
for the worst design; shares of wrong answers on a log axis keep both apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from eos_platform.dashboards.palette import GRID, INK, SEARCHED, UNREDUCED, Style, design_styles, rgba, theme
from eos_platform.dashboards.text import escape

WIDTH, HEIGHT, ACROSS = 1000, 860, 2
LOW, HIGH = 0.4, 110.0  # per cent of wrong answers
LEFT, RIGHT = 0.0255, 0.40  # compute ratio; the names of designs stand on the left
TICKS_X = (0.05, 0.1, 0.15, 0.2, 0.3)
TICKS_Y = (0.5, 1, 2, 5, 10, 20, 50, 100)
APART = 16  # pixels between two names
HEAD, FOOT, BETWEEN = 104, 66, 0.11


def mistakes_figure(
    points: pd.DataFrame, panels: Mapping[str, Sequence[str]], title: str, subtitle: str = ""
) -> go.Figure:
    """The searched operators (every seed, and the line of their means) in every panel, beside the designs of one kind.

    Args:
        points: rows with ``family``, ``design``, ``ratio`` (asked for), ``compute_ratio``, ``accuracy``,
            ``accuracy_low`` and ``accuracy_high`` (shares of 1).
        panels: designs by the panel's title.
    """
    rows = -(-len(panels) // ACROSS)
    figure = make_subplots(
        rows,
        ACROSS,
        subplot_titles=[f"<b>{escape(name)}</b>" for name in panels],
        horizontal_spacing=0.03,
        vertical_spacing=BETWEEN,
        shared_xaxes=True,
        shared_yaxes=True,
    )
    figure.update_layout(theme(escape(title), escape(subtitle)))
    figure.update_layout(
        width=WIDTH,
        height=HEIGHT,
        showlegend=False,
        margin={"l": 76, "r": 24, "t": HEAD + 26, "b": FOOT},
        title={"y": 1 - 22 / HEIGHT, "yref": "container"},
    )
    figure.update_annotations(font={"size": 15, "color": INK}, xanchor="left", yshift=2)
    panel = (HEIGHT - HEAD - 26 - FOOT) * (1 - BETWEEN * (rows - 1)) / rows
    searched = points[points["family"] == "searched"]
    whole = points[points["family"] == "unreduced"]
    styles = design_styles(points["design"].dropna().astype(str))
    for number, designs in enumerate(panels.values()):
        place = {"row": number // ACROSS + 1, "col": number % ACROSS + 1}
        figure.layout.annotations[number].x = figure.get_subplot(**place).xaxis.domain[0]
        _unreduced(figure, whole, place, named=number == 0)
        for design in designs:
            _design(figure, points[points["design"] == design], styles[design], place)
        _searched(figure, searched, place, named=number == 0)
        _names(figure, points, designs, styles, place, panel)
    figure.update_xaxes(
        type="log",
        range=[math.log10(LEFT), math.log10(RIGHT)],
        tickvals=TICKS_X,
        ticktext=[f"{100 * tick:g} %" for tick in TICKS_X],
        tickangle=0,
        gridcolor=GRID,
        showline=False,
        ticks="",
    )
    figure.update_yaxes(
        type="log",
        range=[math.log10(LOW), math.log10(HIGH)],
        tickvals=TICKS_Y,
        ticktext=[f"{tick:g} %" for tick in TICKS_Y],
        gridcolor=GRID,
        showline=False,
        ticks="",
    )
    outside = {"showarrow": False, "xref": "paper", "yref": "paper", "font": {"size": 15, "color": INK}}
    figure.add_annotation(
        text="compute ratio (log scale)", x=0.5, y=0, yanchor="top", xanchor="center", yshift=-34, **outside
    )
    figure.add_annotation(
        text="wrong answers (log scale, lower is better)",
        x=0,
        y=0.5,
        xshift=-62,
        textangle=-90,
        xanchor="center",
        yanchor="middle",
        **outside,
    )
    return figure


def _wrong(accuracy: pd.Series) -> list[float]:
    """Per cent of wrong answers; none at all is drawn at the foot."""
    return (100 * (1 - accuracy.astype(float))).clip(lower=LOW).tolist()


def _unreduced(figure: go.Figure, whole: pd.DataFrame, place: Mapping[str, int], named: bool) -> None:
    for level in _wrong(whole["accuracy"]):
        line = {"color": UNREDUCED, "width": 1.3, "dash": "dash"}
        figure.add_trace(go.Scatter(x=[LEFT, RIGHT], y=[level, level], mode="lines", line=line), **place)
        if named:
            _write(figure, math.sqrt(LEFT * 0.05), level, "unreduced", UNREDUCED, place, below=True)


def _design(figure: go.Figure, rows: pd.DataFrame, style: Style, place: Mapping[str, int]) -> None:
    rows = rows.sort_values("compute_ratio")
    wrong = pd.Series(_wrong(rows["accuracy"]))
    above = pd.Series(_wrong(rows["accuracy_low"])) - wrong
    below = wrong - pd.Series(_wrong(rows["accuracy_high"]))
    figure.add_trace(
        go.Scatter(
            x=rows["compute_ratio"].tolist(),
            y=wrong.tolist(),
            mode="lines+markers",
            line={"color": rgba(style.colour, 0.65), "width": 1.6},
            marker={"color": style.colour, "symbol": style.symbol, "size": 9},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": above.tolist(),
                "arrayminus": below.tolist(),
                "color": rgba(style.colour, 0.5),
                "thickness": 1.2,
                "width": 0,
            },
        ),
        **place,
    )


def _searched(figure: go.Figure, rows: pd.DataFrame, place: Mapping[str, int], named: bool) -> None:
    figure.add_trace(
        go.Scatter(
            x=rows["compute_ratio"].tolist(),
            y=_wrong(rows["accuracy"]),
            mode="markers",
            marker={"color": rgba(SEARCHED, 0.35), "size": 7},
        ),
        **place,
    )
    means = rows.groupby("ratio")[["compute_ratio", "accuracy"]].mean().sort_values("compute_ratio")
    figure.add_trace(
        go.Scatter(
            x=means["compute_ratio"].tolist(),
            y=_wrong(means["accuracy"]),
            mode="lines+markers",
            line={"color": SEARCHED, "width": 3},
            marker={"color": SEARCHED, "size": 9, "line": {"color": "white", "width": 1}},
        ),
        **place,
    )
    if named and len(means):
        first = means.iloc[0]
        _write(
            figure, first["compute_ratio"], _wrong(means["accuracy"])[0], "<b>searched</b>", SEARCHED, place, right=True
        )


def _names(
    figure: go.Figure,
    points: pd.DataFrame,
    designs: Sequence[str],
    styles: Mapping[str, Style],
    place: Mapping[str, int],
    panel: float,
) -> None:
    """Each design's name left of its cheapest point, moved apart where two would stand on each other."""
    decade = panel / math.log10(HIGH / LOW)
    ends = []
    for design in designs:
        rows = points[points["design"] == design].sort_values("compute_ratio")
        if len(rows):
            ends.append((math.log10(_wrong(rows["accuracy"])[0]), float(rows["compute_ratio"].iloc[0]), design))
    ends.sort()
    heights = apart([height for height, _, _ in ends], APART / decade)
    for (_, x, design), height in zip(ends, heights, strict=True):
        _write(figure, x, 10**height, escape(design), styles[design].colour, place, right=True)


def apart(heights: Sequence[float], least: float) -> list[float]:
    """Sorted heights moved as little as that takes until neighbours are ``least`` apart; clusters keep their middle."""
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and _top(groups[-2], least) + least > _foot(groups[-1], least):
            last = groups.pop()
            groups[-1] += last
    return [_foot(group, least) + least * number for group in groups for number in range(len(group))]


def _foot(group: Sequence[float], least: float) -> float:
    return sum(group) / len(group) - least * (len(group) - 1) / 2


def _top(group: Sequence[float], least: float) -> float:
    return _foot(group, least) + least * (len(group) - 1)


def _write(
    figure: go.Figure,
    x: float,
    y: float,
    text: str,
    colour: str,
    place: Mapping[str, int],
    *,
    right: bool = False,
    below: bool = False,
) -> None:
    """Words at a point of a panel; ``right``: they end left of it."""
    figure.add_annotation(
        x=math.log10(x),
        y=math.log10(y),
        text=text,
        showarrow=False,
        xanchor="right" if right else "center",
        xshift=-9 if right else 0,
        yshift=-10 if below else 0,
        font={"size": 14, "color": colour},
        **place,
    )
