"""One operator looked into: what each of its parameters is worth, and how many tokens enter each layer.

``ablations`` has one row a change: ``name``, ``was`` (the value before, may be empty), ``accuracy``, ``difference``
from the operator as it is with its 95 % interval ``low``, ``high`` (shares of 1; negative: worse), ``compute_ratio``
and ``matched`` (whether that is the operator's own). ``layers`` has one row a decoder layer: ``layer``, ``tokens``
(visual tokens that enter it), and ``operator`` (a name; the first is drawn heavier).
"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from eos_platform.dashboards.palette import GRID, INK, MUTED, SEARCHED, rgba, theme
from eos_platform.dashboards.text import escape

WORSE, BETTER, NEITHER = "#d55e00", "#009e73", "#8c9196"
OTHERS = ("#8a6d3b", "#b8609a", "#5c6168", "#7aa60a")
ROW, HEAD, FOOT = 26, 120, 90  # pixels


def ablation_figure(ablations: pd.DataFrame, title: str = "Effect of each parameter", subtitle: str = "") -> go.Figure:
    """Change of accuracy by each ablation, largest loss at the top; hollow where the compute is another too."""
    figure = go.Figure()
    figure.update_layout(theme(escape(title), escape(subtitle)))
    if ablations.empty:
        return _nothing(figure, "No parameter to change")
    rows = ablations.sort_values("difference", kind="stable")[::-1]  # the first is drawn at the foot
    kinds = {
        "worse": (rows["high"] < 0, WORSE),
        "better": (rows["low"] > 0, BETTER),
        "not significant": ((rows["high"] >= 0) & (rows["low"] <= 0), NEITHER),
    }
    for label, (which, colour) in kinds.items():
        for matched in (True, False):
            part = rows[which & (rows["matched"].astype(bool) == matched)]
            if len(part):
                figure.add_trace(
                    _bars(part, label + ("" if matched else ", other compute"), colour, hollow=not matched)
                )
    height = HEAD + FOOT + ROW * max(len(rows), 4)
    figure.add_vline(x=0, line_color=INK, line_width=1)
    figure.update_layout(
        height=height,
        margin={"l": 20, "r": 40, "t": HEAD, "b": FOOT},
        title={"y": 1 - 24 / height, "yref": "container", "yanchor": "top"},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "font": {"size": 13}},
        bargap=0.35,
        barmode="overlay",
    )
    figure.update_xaxes(title_text="change in accuracy, points (95 % interval)", zeroline=False)
    figure.update_yaxes(
        categoryorder="array",
        categoryarray=list(rows["name"].map(escape)),
        automargin=True,
        showgrid=False,
        showline=False,
        ticks="",
        title_text="",
        dtick=1,
    )
    return figure


def _bars(rows: pd.DataFrame, label: str, colour: str, *, hollow: bool) -> go.Bar:
    points = 100 * rows["difference"]
    hover = [
        f"<b>{escape(str(row['name']))}</b>"
        + (f" (was {escape(str(row['was']))})" if row["was"] else "")
        + f"<br>{100 * row['difference']:+.1f} points ({100 * row['low']:+.1f} .. {100 * row['high']:+.1f})"
        + f"<br>accuracy {row['accuracy']:.1%} at compute ratio {row['compute_ratio']:.3f}"
        for row in rows.to_dict("records")
    ]
    return go.Bar(
        x=points,
        y=rows["name"].map(escape),
        orientation="h",
        name=label,
        marker={"color": rgba(colour, 0.12 if hollow else 0.85), "line": {"color": colour, "width": 1.5}},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": 100 * (rows["high"] - rows["difference"]),
            "arrayminus": 100 * (rows["difference"] - rows["low"]),
            "color": INK,
            "thickness": 1.2,
            "width": 4,
        },
        hovertext=hover,
        hoverinfo="text",
    )


def staircase_figure(
    layers: pd.DataFrame, title: str = "Visual tokens entering each decoder layer", subtitle: str = ""
) -> go.Figure:
    """The tokens by layer of an operator, and of those it is compared with."""
    figure = go.Figure()
    figure.update_layout(theme(escape(title), escape(subtitle)))
    if layers.empty:
        return _nothing(figure, "No layer")
    for number, (name, rows) in enumerate(layers.groupby("operator", sort=False)):
        first = number == 0
        # each level as wide as its layer: from half a layer before it to half a layer after
        x = [edge for layer in rows["layer"] for edge in (layer - 0.5, layer + 0.5)]
        y = [tokens for tokens in rows["tokens"] for _ in range(2)]
        colour = SEARCHED if first else OTHERS[(number - 1) % len(OTHERS)]
        figure.add_trace(
            go.Scatter(
                x=x,
                y=y,
                mode="lines",
                name=escape(str(name)),
                line={"color": colour, "width": 3 if first else 1.6, "dash": "solid" if first else "dot"},
                fill="tozeroy" if first else None,
                fillcolor=rgba(colour, 0.12),
                hovertemplate="%{y} tokens<extra>%{fullData.name}</extra>",
            )
        )
    last = int(layers["layer"].max())
    figure.update_layout(
        height=420,
        margin={"t": HEAD, "l": 80, "r": 40, "b": 70},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "font": {"size": 13}},
        title={"y": 1 - 24 / 420, "yref": "container", "yanchor": "top"},
    )
    step = max(1, round((last + 1) / 16))
    figure.update_xaxes(title_text="decoder layer", range=[-0.5, last + 0.5], dtick=step, tick0=0)
    figure.update_yaxes(title_text="visual tokens", range=[0, 1.06 * max(1, layers["tokens"].max())], gridcolor=GRID)
    return figure


def _nothing(figure: go.Figure, text: str) -> go.Figure:
    figure.add_annotation(
        text=text, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"size": 18, "color": MUTED}
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure
