"""Accuracy against compute: what was searched, what people designed by hand, and the unreduced model.

``points`` has one row an operator: ``name``, ``family`` ("searched" | "hand-designed" | "unreduced"), ``accuracy`` and
its 95 % interval ``accuracy_low``, ``accuracy_high`` (shares of 1), ``compute_ratio``; and, where known,
``mean_tokens``, ``tokens_left``, ``regime``, ``trial``, ``design``, ``variant``, ``questions``. Missing columns, empty
families and unknown numbers are drawn as what is left of them. A design that comes both ``published`` and ``tuned`` is
drawn twice, hollow and dotted as published. With a column ``key``, each point carries it as its id (what a click
reports); ``front`` (booleans) says which searched rows are the front where that cannot be told from the rows alone;
``measured_on`` ("held-out" | "validation"), and of a search ``settings`` (words), ``seconds`` and ``seed``, are shown
on hover.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from eos_platform.dashboards.objectives import objectives_figure
from eos_platform.dashboards.palette import (
    FAMILIES,
    INK,
    MUTED,
    PAPER,
    SEARCHED,
    SEARCHES,
    UNREDUCED,
    Style,
    design_styles,
    rgba,
    theme,
)
from eos_platform.dashboards.text import escape, records
from eos_platform.objectives import DEFAULT
from eos_platform.protocols import Objective

NUMBERS = (
    *("accuracy", "accuracy_low", "accuracy_high", "compute_ratio", "mean_tokens", "tokens_left", "questions"),
    *("seconds", "seed"),
)
COLUMNS = (
    "name",
    "family",
    *NUMBERS,
    "regime",
    "trial",
    "design",
    "variant",
    "key",
    "front",
    "measured_on",
    "settings",
)
MANY = 600  # dominated points beyond which they are drawn by the GPU, without bars
TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)


def pareto_figure(
    points: pd.DataFrame,
    title: str = "Accuracy against compute",
    *,
    budget: float | None = None,
    bars: bool = True,
    height: int | None = 720,
    axes: Sequence[Objective] = DEFAULT,
    own: bool = True,
    empty: str = "No operator measured yet",
) -> go.Figure:
    """The Pareto front of the searched operators beside the hand-designed ones.

    Args:
        axes: the study's objectives; others than accuracy and compute are drawn by ``objectives_figure``.
        own: of other axes, whether they are the study's objectives or only chosen to draw against.
        budget: a compute ratio; what costs more is veiled.
        bars: draw the 95 % intervals.
        height: pixels; None: of what holds it.
        empty: said where there is no point to draw.

    Raises:
        ValueError: a family that is none of the three.
    """
    if tuple(axes) != DEFAULT:
        return objectives_figure(points, title, axes, own=own, bars=bars, height=height, empty=empty)
    drawn = _drawable(points)
    if not bars:
        drawn = drawn.assign(accuracy_low=math.nan, accuracy_high=math.nan)
    low, high = _x_range(drawn)
    ticks = [tick for tick in TICKS if low <= tick <= high]
    look = theme(escape(title), _subtitle(drawn))
    across = "Compute ratio: language-model prefill FLOPs, reduced / unreduced (log scale)"
    layout: dict[str, Any] = {
        **look,
        "xaxis": {
            **look["xaxis"],
            "type": "log",
            "range": [math.log10(low), math.log10(high)],
            "tickvals": ticks,
            "tickangle": 0,
            "ticktext": [f"{tick:g}<br><span style='color:{MUTED}'>{100 * tick:g} %</span>" for tick in ticks],
            "title": {**look["xaxis"]["title"], "text": across},
        },
        "yaxis": {
            **look["yaxis"],
            "title": {**look["yaxis"]["title"], "text": "Accuracy (%)"},
            "range": _y_range(drawn),
        },
        "showlegend": True,
        "legend": {"xanchor": "left", "x": 1.015, "yanchor": "top", "y": 1, "tracegroupgap": 14, "font": {"size": 14}},
        "hovermode": "closest",
        "height": height,
    }
    # in one step: every update_layout takes Plotly as long as this
    figure = go.Figure([*_unreduced(drawn), *_designed(drawn), *_searched(drawn)], layout)
    if budget is not None and low < budget < high:
        _veil(figure, budget, high)
    if drawn.empty:
        figure.add_annotation(text=empty, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font_size=18)
    return figure


def add_fronts(figure: go.Figure, fronts: Mapping[str, pd.DataFrame], axes: Sequence[Objective] = DEFAULT) -> None:
    """Fronts of other studies, by their names, as lines beside what is drawn; those without both axes are left out."""
    y, x = axes[:2]
    usual = tuple(axes) == DEFAULT
    for number, (name, rows) in enumerate(fronts.items(), 1):
        colour = SEARCHES[number % len(SEARCHES)]
        rows = rows.reindex(columns=list(dict.fromkeys([*rows.columns, y.metric, x.metric])))
        rows = rows[rows[[y.metric, x.metric]].notna().all(axis=1)].sort_values(x.metric)
        if rows.empty:
            continue
        figure.add_trace(
            go.Scatter(
                x=rows[x.metric].tolist(),
                y=((100 if usual else 1) * rows[y.metric]).tolist(),
                mode="lines+markers" if usual else "markers",
                name=f"front of {escape(name)}",
                legendgroup="others",
                legendrank=5,
                line={"color": colour, "width": 2, "shape": "hv", "dash": "dash"},
                marker={"color": colour, "symbol": "circle-open", "size": 9},
                customdata=[escape(str(each)) for each in rows["name"]],
                hovertemplate=f"<b>%{{customdata}}</b> of {escape(name)}<br>%{{y:.4g}} at %{{x:.4g}}<extra></extra>",
            )
        )


def _veil(figure: go.Figure, budget: float, edge: float) -> None:
    """A line at the budget, and what is dearer behind a veil."""
    across = {"xref": "x", "yref": "paper", "y0": 0, "y1": 1}
    figure.add_shape(
        type="rect", x0=budget, x1=edge, fillcolor=rgba(PAPER, 0.68), line_width=0, layer="above", **across
    )
    figure.add_shape(type="line", x0=budget, x1=budget, line={"color": INK, "width": 1.5, "dash": "dot"}, **across)
    figure.add_annotation(
        x=math.log10(budget),
        y=0,
        yref="paper",
        text=f"budget {budget:.3g}",
        showarrow=False,
        xanchor="right",
        xshift=-5,
    )


def front_mask(points: pd.DataFrame) -> NDArray[np.bool_]:
    """Rows that no other row beats: none has at most their compute and at least their accuracy, one of them better."""
    cost, gain = points["compute_ratio"].to_numpy(float), points["accuracy"].to_numpy(float)
    front = np.zeros(len(points), dtype=bool)
    best, best_cost = -math.inf, math.nan
    for row in np.lexsort((-gain, cost)):  # from cheap to dear, of equal cost the most accurate first
        if gain[row] > best:
            best, best_cost = gain[row], cost[row]
        front[row] = gain[row] == best and cost[row] == best_cost
    return front


def _drawable(points: pd.DataFrame) -> pd.DataFrame:
    """Rows with a place on the (log) plane, every column present, numbers as floats with NaN for unknown."""
    drawn = points.reindex(columns=list(COLUMNS))
    strange = sorted(set(drawn["family"].dropna().astype(str)) - set(FAMILIES))
    if strange:
        raise ValueError(f"unknown family '{strange[0]}'; known: {', '.join(FAMILIES)}")
    for column in NUMBERS:
        drawn[column] = pd.to_numeric(drawn[column], errors="coerce").astype(float)
    placed = np.isfinite(drawn["accuracy"]) & np.isfinite(drawn["compute_ratio"]) & (drawn["compute_ratio"] > 0)
    return drawn[placed].sort_values("compute_ratio", kind="stable").reset_index(drop=True)


def _unreduced(drawn: pd.DataFrame) -> Iterator[go.Scatter]:
    rows = drawn[drawn["family"] == "unreduced"]
    low, high = _x_range(drawn)
    for number, row in enumerate(records(rows)):
        level = 100 * row["accuracy"]
        yield go.Scatter(
            x=[low, high],
            y=[level, level],
            mode="lines+text",
            text=[f"  {level:.1f} %", ""],
            textposition="top right",
            textfont={"color": UNREDUCED, "size": 13},
            line={"color": UNREDUCED, "width": 1.3, "dash": "dash"},
            name=_name(row),
            legendgroup="unreduced",
            showlegend=False,
            hoverinfo="skip",
        )
        yield _scatter(
            rows.iloc[[number]],
            name=_name(row) if len(rows) > 1 else "unreduced model",
            mode="markers",
            marker={"color": UNREDUCED, "size": 12, "symbol": "star"},
            error_colour=rgba(UNREDUCED, 0.6),
            legendgroup="unreduced",
            legendrank=4,
        )


def _designed(drawn: pd.DataFrame) -> Iterator[go.Scatter]:
    rows = drawn[drawn["family"] == "hand-designed"]
    design = rows["design"].where(rows["design"].notna(), rows["name"]).astype(str)
    tuned = rows["variant"] == "tuned"
    for name, style in design_styles(design).items():
        mine = design == name
        both = bool((mine & tuned).any()) and bool((mine & ~tuned).any())
        for after in (False, True):
            drawn_here = rows[mine & (tuned == after)]
            if len(drawn_here):
                yield _design(drawn_here, name, style, tuned=after, both=both)


def _design(rows: pd.DataFrame, name: str, style: Style, *, tuned: bool, both: bool) -> go.Scatter:
    hollow = both and not tuned
    return _scatter(
        rows,
        # twice as many lines as anybody can tell apart: those as published wait in the legend
        visible="legendonly" if hollow else True,
        name=escape(name) + (", tuned" if tuned else ", published" if both else ""),
        mode="lines+markers",
        marker={
            "color": style.colour,
            "size": 9,
            "symbol": style.symbol + ("-open" if hollow else ""),
            "line": {"color": style.colour if hollow else "white", "width": 1},
        },
        line={"color": rgba(style.colour, 0.55), "width": 1.3, **({"dash": "dot"} if hollow else {})},
        error_colour=rgba(style.colour, 0.55),
        legendgroup="hand-designed",
        legendrank=3,
        legendgrouptitle={"text": "hand-designed", "font": {"size": 13, "color": MUTED}},
    )


def _searched(drawn: pd.DataFrame) -> Iterator[go.Scatter]:
    rows = drawn[drawn["family"] == "searched"]
    front = front_mask(rows) if rows["front"].isna().any() else rows["front"].to_numpy(bool)
    group = {
        "legendgroup": "searched",
        "legendgrouptitle": {"text": "searched", "font": {"size": 13, "color": MUTED}},
    }
    asked_of_front, asked_of_others = _questions(rows[front]), _questions(rows[~front])
    if not front.all():
        yield _scatter(
            rows[~front],
            # those that fell behind on validation were never measured on held-out questions: two scales in one figure
            name="dominated" + (asked_of_others if front.any() and asked_of_others != asked_of_front else ""),
            legendrank=2,
            mode="markers",
            marker={"color": rgba(SEARCHED, 0.28), "size": 8},
            error_colour=rgba(SEARCHED, 0.2),
            **group,
        )
    if front.any():
        yield _scatter(
            rows[front],
            name=f"Pareto front{asked_of_front}",
            legendrank=1,
            mode="lines+markers",
            marker={"color": SEARCHED, "size": 11, "line": {"color": "white", "width": 1.2}},
            # a staircase: between two operators nothing better than the cheaper one has been found
            line={"color": SEARCHED, "width": 2.6, "shape": "hv"},
            error_colour=rgba(SEARCHED, 0.75),
            **group,
        )


def _questions(rows: pd.DataFrame) -> str:
    """What all of them were measured on, in brackets; empty where that is not known, or not one thing."""
    known = rows["measured_on"].dropna().unique()
    return f" ({escape(str(known[0]))})" if len(known) == 1 else ""


def _scatter(rows: pd.DataFrame, *, error_colour: str, **style: Any) -> go.Scatter:
    """One trace of measured points: per cent up, interval bars where known, and what hovering tells."""
    cloud = style["mode"] == "markers" and len(rows) > MANY
    percent = 100 * rows["accuracy"]
    # thousands get no bars and a short hover text: in full the figure would have megabytes
    bars = {} if cloud else {"error_y": _bars(rows, percent, error_colour)}
    if rows["key"].notna().all():
        keys = rows["key"].astype(str)
        style = {**style, "ids": keys.to_numpy(object) if cloud else keys.tolist()}
    names = rows["name"].astype(str).map(escape)
    return (go.Scattergl if cloud else go.Scatter)(
        # arrays are checked at once, not value by value, and sent as a third of the bytes
        x=rows["compute_ratio"].to_numpy(np.float32) if cloud else rows["compute_ratio"].tolist(),
        y=percent.to_numpy(np.float32) if cloud else percent.tolist(),
        customdata=names.to_numpy(object) if cloud else [_hover(row) for row in records(rows)],
        hovertemplate="<b>%{customdata}</b><br>accuracy %{y:.1f} %<br>compute ratio %{x:.3f}<extra></extra>"
        if cloud
        else "%{customdata}<extra></extra>",
        **bars,
        **style,
    )


def _bars(rows: pd.DataFrame, percent: pd.Series, colour: str) -> dict[str, Any]:
    above = (100 * rows["accuracy_high"] - percent).clip(lower=0).fillna(0)
    below = (percent - 100 * rows["accuracy_low"]).clip(lower=0).fillna(0)
    return {
        "type": "data",
        "symmetric": False,
        "array": above.tolist(),
        "arrayminus": below.tolist(),
        "color": colour,
        "thickness": 1.2,
        "width": 3,
        "visible": bool((above + below > 0).any()),
    }


def _hover(row: Mapping[str, Any]) -> str:
    lines = [f"<b>{_name(row)}</b>"]
    facts = [] if pd.isna(row["regime"]) else [f"regime {escape(str(row['regime']))}"]
    facts += [] if pd.isna(row["trial"]) else [f"trial {row['trial']:.0f}"]
    lines += [", ".join(facts)] if facts else []
    accuracy = f"accuracy {100 * row['accuracy']:.1f} %"
    if not (pd.isna(row["accuracy_low"]) or pd.isna(row["accuracy_high"])):
        accuracy += f" (95 %: {100 * row['accuracy_low']:.1f} to {100 * row['accuracy_high']:.1f})"
    if not pd.isna(row["measured_on"]):
        accuracy += f", {escape(str(row['measured_on']))}"
    lines += [accuracy, f"compute ratio {row['compute_ratio']:.3f}"]
    tokens = [f"{row['mean_tokens']:.1f} mean"] if not pd.isna(row["mean_tokens"]) else []
    tokens += [f"{row['tokens_left']:.0f} left at the end"] if not pd.isna(row["tokens_left"]) else []
    lines += ["visual tokens: " + ", ".join(tokens)] if tokens else []
    return "<br>".join([*lines, *of_search(row)])


def of_search(row: Mapping[str, Any]) -> list[str]:
    """Lines of a hover: what was varied of a search, its seed and how long it took."""
    lines = [] if pd.isna(row["settings"]) else textwrap.wrap(escape(str(row["settings"])), 60)
    took = [] if pd.isna(row["seed"]) else [f"seed {row['seed']:.0f}"]
    took += [] if pd.isna(row["seconds"]) else [f"{row['seconds']:.0f} s"]
    return [*lines, *([", ".join(took)] if took else [])]


def _name(row: Mapping[str, Any]) -> str:
    return escape(str(row["family"] if pd.isna(row["name"]) else row["name"]))


def _subtitle(drawn: pd.DataFrame) -> str:
    counts = drawn["questions"].dropna().unique()
    bars = "bars: 95 % intervals" if drawn["accuracy_low"].notna().any() else ""
    questions = f"{counts[0]:,.0f} questions per point" if len(counts) == 1 else ""
    variants = set(drawn["variant"].dropna())
    both = "designs as tuned; click the legend to show them as published" if {"tuned", "published"} <= variants else ""
    return ", ".join(part for part in ("deployed operators", questions, bars, both) if part) if len(drawn) else ""


def _x_range(drawn: pd.DataFrame) -> tuple[float, float]:
    """From a little below the cheapest point to a little above ratio 1, where the unreduced model stands."""
    ratios = drawn["compute_ratio"]
    if ratios.empty:
        return 0.02, 1.15
    return 0.85 * min(float(ratios.min()), 0.5), 1.15 * max(float(ratios.max()), 1.0)


def _y_range(drawn: pd.DataFrame) -> list[float]:
    """All intervals with some room, and never so close that a point's noise looks like a mountain."""
    if drawn.empty:
        return [0.0, 100.0]
    low = 100 * float(drawn["accuracy_low"].fillna(drawn["accuracy"]).min())
    high = 100 * float(drawn["accuracy_high"].fillna(drawn["accuracy"]).max())
    room = max(0.06 * (high - low), 5.0 - (high - low) / 2, 1.5)
    return [max(low - room, 0.0), min(high + room, 102.0)]
