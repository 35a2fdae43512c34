"""Mean ranks over comparisons: one dot a method, best on top, bars joining those that do not differ significantly.

``ranks`` has one row a method, the best first: ``method``, ``mean_rank``, ``wins`` (blocks in which it is best),
``control`` (bool).
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from eos_platform.dashboards.palette import INK, MUTED, colour_of, theme
from eos_platform.dashboards.text import escape

ROW, HEAD = 24, 150  # pixels
APART = 0.25  # rows between bars


def ranks_figure(
    ranks: pd.DataFrame,
    cliques: Sequence[Sequence[str]],
    critical_difference: float,
    blocks: int,
    title: str = "Mean ranks",
) -> go.Figure:
    """The figure.

    Args:
        cliques: runs of methods that do not differ significantly, each drawn as a bar.
        critical_difference: mean ranks less than this apart do not differ significantly; nan: not known.
        blocks: comparisons ranked over.
    """
    figure = go.Figure()
    known = critical_difference == critical_difference
    note = f"over {blocks} comparisons; 1 is best"
    if known:
        note += f"; bars join methods less than the critical difference ({critical_difference:.2f}) apart"
    figure.update_layout(theme(escape(title), note))
    if ranks.empty:
        figure.add_annotation(text="Nothing ranked yet", x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
        return figure
    place = {name: -float(number) for number, name in enumerate(ranks["method"])}
    mean = dict(zip(ranks["method"], ranks["mean_rank"], strict=True))
    right = float(ranks["mean_rank"].max())
    for number, clique in enumerate(cliques):
        x = right + 0.6 + APART * number * max(1.0, right / 20)
        hover = f"{escape(clique[0])} to {escape(clique[-1])}: no significant difference"
        figure.add_trace(
            go.Scatter(
                x=[x, x],
                y=[place[clique[0]] + 0.2, place[clique[-1]] - 0.2],
                mode="lines",
                line={"color": MUTED, "width": 4},
                hovertemplate=hover + "<extra></extra>",
                showlegend=False,
            )
        )
    if known:
        figure.add_trace(
            go.Scatter(
                x=[mean[ranks["method"].iloc[0]], mean[ranks["method"].iloc[0]] + critical_difference],
                y=[0.8, 0.8],
                mode="lines+text",
                text=["", "critical difference"],
                textposition="middle right",
                line={"color": INK, "width": 2},
                hoverinfo="skip",
                showlegend=False,
            )
        )
    colours = {name: _colour(str(name)) for name in ranks["method"]}
    for control, label in ((False, "methods"), (True, "controls")):
        rows = ranks[ranks["control"] == control]
        figure.add_trace(
            go.Scatter(
                x=rows["mean_rank"],
                y=[place[name] for name in rows["method"]],
                customdata=rows[["method", "wins"]].map(lambda value: escape(str(value))),
                mode="markers",
                marker={
                    "color": [colours[name] for name in rows["method"]],
                    "size": 10,
                    "symbol": "diamond" if control else "circle",
                },
                name=label,
                hovertemplate="%{customdata[0]}: mean rank %{x:.2f}, best in %{customdata[1]}<extra></extra>",
            )
        )
    figure.update_xaxes(title_text="mean rank")
    ticks = {"tickvals": list(place.values()), "ticktext": [escape(name) for name in place]}
    reach = [0.4 - len(ranks), 1.5 if known else 0.6]  # above the first is the critical difference, with its name
    figure.update_yaxes(title_text="", showgrid=False, automargin=True, range=reach, **ticks)
    figure.update_layout(height=HEAD + ROW * max(len(ranks) + 1, 4))
    return figure


def _colour(method: str) -> str:
    """Of a method's design, tuned or not, as in every other figure."""
    return colour_of("searched") if method == "searched" else colour_of("hand-designed", method.removesuffix(" tuned"))
