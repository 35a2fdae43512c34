"""Every design on every model: a heat map of the share of the unreduced accuracy that it keeps, one panel a ratio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from eos_platform.dashboards.palette import INK, theme
from eos_platform.dashboards.text import escape

SEARCHED = "searched"
WIDTH, ROW, HEAD, FOOT = 1000, 21, 190, 30
SCALE = [(0.0, "#7f2704"), (0.4, "#d94801"), (0.65, "#fdae6b"), (0.8, "#f7f3ea"), (0.92, "#9ecae1"), (1.0, "#08519c")]
ON_PALE, ON_DARK = "#0f1215", "#fdfdfd"  # as they are in both themes, like the colours below them
PALE = (0.62, 0.95)  # shares between which dark figures can be read on the colour


def kept_shares(cells: pd.DataFrame, ratio: float) -> pd.DataFrame:
    """Designs down, models across: accuracy over that of the unreduced model, the better of published and tuned.

    Args:
        cells: rows with ``model``, ``design`` (empty: the unreduced model), ``ratio`` and ``accuracy``.
        ratio: compute ratio.
    """
    unreduced = cells["design"].isna() | (cells["design"] == "")
    whole = cells[unreduced].groupby("model")["accuracy"].max()
    some = cells[~unreduced & (cells["ratio"] == ratio)]
    return some.groupby(["design", "model"])["accuracy"].max().unstack().div(whole, axis=1)


def designs_figure(
    cells: pd.DataFrame, models: Mapping[str, str], ratios: Sequence[float], title: str, subtitle: str = ""
) -> go.Figure:
    """The figure: designs from the best to the worst by their mean over what is shown, a searched operator on top.

    Args:
        cells: see ``kept_shares``; the design ``searched`` is a search's.
        models: what a column is called, by model.
        ratios: one panel each.
    """
    panels = [kept_shares(cells, ratio).reindex(columns=list(models)) for ratio in ratios]
    names = sorted({name for panel in panels for name in panel.index})
    panels = [panel.reindex(names) for panel in panels]
    ranks = pd.concat([panel.rank(ascending=False, na_option="bottom") for panel in panels], axis=1).mean(axis=1)
    order = [name for name in ranks.sort_values(ascending=False).index if name != SEARCHED]
    order += [SEARCHED] if SEARCHED in names else []  # heat maps begin at the bottom
    figure = make_subplots(
        1,
        len(ratios),
        shared_yaxes=True,
        horizontal_spacing=0.015,
        subplot_titles=[f"<b>compute ratio {ratio:g}</b>" for ratio in ratios],
    )
    for number, panel in enumerate(panels):
        shares = panel.reindex(order)
        figure.add_trace(
            go.Heatmap(
                z=100 * shares.to_numpy(),
                x=[escape(name) for name in models.values()],
                y=[f"<b>{name}</b>" if name == SEARCHED else escape(name) for name in order],
                zmin=0,
                zmax=100,
                colorscale=[list(stop) for stop in SCALE],
                showscale=False,
                xgap=1,
                ygap=1,
                hovertemplate="%{y} on %{x}: %{z:.1f} % kept<extra></extra>",
            ),
            1,
            number + 1,
        )
        _numbers(figure, shares, number)
    figure.update_layout(theme(escape(title), escape(subtitle)))
    height = HEAD + FOOT + ROW * len(order)
    figure.update_layout(
        width=WIDTH,
        height=height,
        margin={"l": 110, "r": 16, "t": HEAD, "b": FOOT},
        title={"y": 1 - 22 / height, "yref": "container"},
    )
    figure.update_annotations(selector={"yref": "paper"}, font={"size": 15, "color": INK}, yshift=84)
    figure.update_xaxes(side="top", tickangle=-40, showgrid=False, showline=False, ticks="", tickfont={"size": 13})
    figure.update_yaxes(showgrid=False, showline=False, ticks="", tickfont={"size": 13})
    return figure


def _numbers(figure: go.Figure, shares: pd.DataFrame, panel: int) -> None:
    """In each cell its number, dark on pale cells and white on dark ones."""
    suffix = "" if panel == 0 else str(panel + 1)
    for row, values in enumerate(shares.to_numpy()):
        for column, value in enumerate(values):
            if value == value:
                pale = PALE[0] < value < PALE[1]
                figure.add_annotation(
                    x=column,
                    y=row,
                    xref=f"x{suffix}",
                    yref=f"y{suffix}",
                    text=f"{100 * value:.0f}",
                    showarrow=False,
                    font={"size": 11, "color": ON_PALE if pale else ON_DARK},
                )
