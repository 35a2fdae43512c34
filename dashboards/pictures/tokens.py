"""Pictures with the tokens that stay, large, in rows beside the original: ``kept_figure`` as a still picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from eos_platform.dashboards.kept_tokens import GONE, LARGEST, SCALE, overlay_png
from eos_platform.dashboards.palette import GRID, INK, MUTED, theme
from eos_platform.dashboards.text import escape

WIDTH, MARGIN, GAP = 1000, 26, 16  # pixels
HEAD, OVER, UNDER = 104, 34, 30  # title and colours; words over a picture; words under it


@dataclass(frozen=True)
class Cell:
    """One picture: ``above`` and ``below`` are words; without ``origin`` it is the original."""

    picture: Mapping[str, Any]  # png (a data URI), grid
    above: str
    below: str = ""
    origin: Sequence[int] | None = None
    size: Sequence[float] | None = None


def tokens_figure(rows: Sequence[Sequence[Cell | None]], title: str, subtitle: str = "") -> go.Figure:
    """The cells row by row; None leaves a place empty."""
    across = max(map(len, rows))
    side = (WIDTH - 2 * MARGIN - GAP * (across - 1)) / across
    step = OVER + side + UNDER
    height = round(HEAD + step * len(rows) + MARGIN)
    figure = go.Figure(_colours())
    figure.update_layout(theme(""))
    figure.update_layout(
        title_text="",  # a note instead, since plotly moves a title that it thinks in the way of something
        width=WIDTH,
        height=height,
        margin={"l": MARGIN, "r": MARGIN, "t": HEAD, "b": MARGIN, "autoexpand": False},
    )
    over = {"xref": "paper", "yref": "paper", "x": 0, "y": 1, "xanchor": "left", "yanchor": "top", "showarrow": False}
    figure.add_annotation(text=f"<b>{escape(title)}</b>", yshift=HEAD - 16, font={"size": 21, "color": INK}, **over)
    figure.add_annotation(text=escape(subtitle), yshift=HEAD - 50, font={"size": 14, "color": MUTED}, **over)
    # one unit a pixel, downwards
    hidden = {"showgrid": False, "showline": False, "ticks": "", "showticklabels": False, "zeroline": False}
    figure.update_xaxes(range=[0, WIDTH - 2 * MARGIN], **hidden)
    figure.update_yaxes(range=[height - HEAD - MARGIN, 0], **hidden)
    for down, row in enumerate(rows):
        for right, cell in enumerate(row):
            if cell is not None:
                _draw(figure, cell, right * (side + GAP), down * step, side)
    return figure


def _draw(figure: go.Figure, cell: Cell, left: float, top: float, side: float) -> None:
    shown = cell.picture["png"]
    if cell.origin is not None:
        shown = overlay_png(cell.picture, cell.origin, cell.size or [1.0] * len(cell.origin))
    at = {"xref": "x", "yref": "y"}
    figure.add_layout_image(source=shown, x=left, y=top + OVER, sizex=side, sizey=side, sizing="stretch", **at)
    words = {"showarrow": False, "x": left, "xanchor": "left", "align": "left", **at}
    figure.add_annotation(text=cell.above, y=top + OVER - 2, yanchor="bottom", font={"size": 15, "color": INK}, **words)
    figure.add_annotation(
        text=cell.below, y=top + OVER + side + 1, yanchor="top", font={"size": 14, "color": MUTED}, **words
    )


def _colours() -> go.Heatmap:
    """Nothing but the bar of colours under the title."""
    return go.Heatmap(
        z=[[0.0]],
        x=[-WIDTH],
        y=[-WIDTH],
        zmin=GONE,
        zmax=LARGEST,
        colorscale=SCALE,
        colorbar={
            "tickvals": [GONE + 0.45, 0.0, 1.0, 2.0, 3.0, 4.0, LARGEST],
            "ticktext": ["dropped", "1", "2", "4", "8", "16", f"{2**LARGEST:.0f}+"],
            "title": {"text": "original tokens per kept token", "font": {"size": 14}, "side": "top"},
            "tickangle": 0,
            "orientation": "h",
            "thickness": 12,
            "lenmode": "pixels",
            "len": 420,
            "x": 1,
            "xanchor": "right",
            "xpad": 0,
            "y": 1,
            "yanchor": "bottom",
            "ypad": 30,
            "tickfont": {"size": 13},
            "outlinecolor": GRID,
        },
    )
