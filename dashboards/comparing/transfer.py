"""A transfer matrix: operators by where they were found (rows), in every place (columns).

``cells`` has one row a cell: ``kind`` (the way), ``source``, ``place``, ``budget``, ``kept`` (share of what a search
anew reaches there), ``low``, ``high``, ``accuracy``, ``anew``.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import isnan
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from eos_platform.dashboards.palette import theme
from eos_platform.dashboards.text import escape

WORST, BEST = 50.0, 100.0  # per cent; the ends of the colours
SIDE, HEAD, LEFT = 62, 190, 190  # pixels: of a cell, above, beside
BETWEEN, WIDE, NARROW = 150, 1180, 54  # pixels: between matrices, of a page, of the narrowest cell


def transfer_figure(
    cells: pd.DataFrame, ways: Sequence[str], title: str = "Transfer between models and tasks"
) -> go.Figure:
    """One small matrix for each way (downwards) and budget (sideways)."""
    shown = [way for way in ways if (cells["kind"] == way).any()]
    budgets = sorted(cells["budget"].unique(), reverse=True)
    note = "accuracy in per cent of that of a search on the target; rows: source, columns: target; empty: not measured"
    if not shown:
        figure = go.Figure(layout=theme(escape(title), note))
        figure.add_annotation(text="No transferred operator measured yet", xref="paper", yref="paper", showarrow=False)
        return figure
    places = list(dict.fromkeys(cells["place"]))
    sources = [*places, *(name for name in dict.fromkeys(cells["source"]) if name not in places)]
    tall = len(shown) * SIDE * max(3, len(sources)) + (len(shown) - 1) * BETWEEN
    columns = len(budgets) * max(3, len(places))
    wide = min(1.5 * SIDE, max(NARROW, (WIDE - LEFT - 40 * len(budgets)) / columns))
    figure = make_subplots(
        rows=len(shown),
        cols=len(budgets),
        subplot_titles=[escape(f"{way}, compute ratio {budget:g}") for way in shown for budget in budgets],
        shared_yaxes=True,
        horizontal_spacing=0.03,
        vertical_spacing=BETWEEN / tall,
    )
    for row, way in enumerate(shown, 1):
        for column, budget in enumerate(budgets, 1):
            here = cells[(cells["kind"] == way) & (cells["budget"] == budget)]
            figure.add_trace(_matrix(here, sources, places, first=row == column == 1), row=row, col=column)
    figure.update_layout(theme(escape(title), note))
    figure.update_xaxes(showgrid=False, tickangle=-40, automargin=True)
    figure.update_yaxes(showgrid=False, autorange="reversed", automargin=True)
    height = HEAD + tall + BETWEEN
    figure.update_layout(
        height=height,
        margin={"t": HEAD - 40, "l": LEFT - 30, "b": BETWEEN},
        title_y=1 - 30 / height,
        width=LEFT + columns * wide + 40 * len(budgets),
        coloraxis={
            "colorscale": "Cividis",
            "cmin": WORST,
            "cmax": BEST,
            "colorbar": {"title": {"text": "kept (%)", "side": "right"}, "thickness": 14},
        },
    )
    return figure


def _matrix(here: pd.DataFrame, sources: Sequence[str], places: Sequence[str], first: bool) -> go.Heatmap:
    known = {(row["source"], row["place"]): row for row in here.to_dict("records")}
    values: list[list[float | None]] = []
    texts: list[list[str]] = []
    hover: list[list[str]] = []
    for source in sources:
        cells = [known.get((source, place)) for place in places]
        values.append([None if cell is None else 100 * cell["kept"] for cell in cells])
        texts.append(
            [
                ("–" if source == place else "") if cell is None or isnan(cell["kept"]) else f"{100 * cell['kept']:.1f}"
                for cell, place in zip(cells, places, strict=True)
            ]
        )
        hover.append(["" if cell is None else _hover(cell) for cell in cells])
    return go.Heatmap(
        x=[escape(place) for place in places],
        y=[escape(source) for source in sources],
        z=values,
        text=texts,
        texttemplate="%{text}",
        textfont={"size": 13},
        customdata=hover,
        hovertemplate="%{y} on %{x}<br>%{customdata}<extra></extra>",
        coloraxis="coloraxis",
        xgap=2,
        ygap=2,
        showscale=first,
    )


def _hover(cell: dict[Hashable, Any]) -> str:
    if isnan(cell["kept"]):
        return f"{cell['accuracy']:.1%} of questions; no search anew to compare with"
    interval = f"{100 * cell['low']:.1f} to {100 * cell['high']:.1f}"
    return f"{cell['accuracy']:.1%} of questions, searched anew {cell['anew']:.1%}<br>kept {interval} % (95 %)"
