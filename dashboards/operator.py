"""What an operator does, drawn: visual tokens over the depth of the model, and the sites where they go.

``layers`` has one row a layer: ``place`` ("tower" | "decoder"), ``layer``, ``tokens`` (that enter it). ``sites`` has
one row a site, in order: ``place``, ``layer`` (it stands before), ``before``, ``after`` (tokens), ``regime``,
``selector``.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from eos_platform.dashboards.palette import GRID, INK, MUTED, REGIMES, SEARCHED, UNTOUCHED, rgba, theme
from eos_platform.dashboards.text import escape, records


def operator_figure(
    layers: pd.DataFrame,
    sites: pd.DataFrame,
    title: str = "Visual tokens by layer",
    *,
    height: int = 380,
    colour: str = SEARCHED,
) -> go.Figure:
    """Tokens falling over the layers, in the operator's colour (``palette.colour_of``); a marker at every site.

    Layers that all tokens enter are grey; the marker's form and the legend tell what a site does.
    """
    look = theme(escape(title))
    if layers.empty:
        nothing = {"text": "No layer", "x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper", "showarrow": False}
        return go.Figure(layout={**look, "annotations": [nothing]})
    deep = int(layers.loc[layers["place"] == "tower", "layer"].max()) + 1 if (layers["place"] == "tower").any() else 0
    at = layers["layer"] - deep * (layers["place"] == "tower")
    most = max(int(layers["tokens"].max()), int(sites["before"].max()) if len(sites) else 0, 1)
    traces: list[Any] = [_stretches(layers.assign(x=at), sites, colour)]
    seen: set[str] = set()
    late = at.min() + 0.7 * (at.max() - at.min())  # from here on a label is left of its site, not cut at the edge
    for _, here in sites.groupby(["place", "layer"], sort=False):
        steps = records(here)
        x = steps[0]["layer"] - (deep if steps[0]["place"] == "tower" else 0) - 0.5
        for made in steps:
            last = made is steps[-1]
            caption = f"{steps[0]['before']} → {made['after']}" + (f" in {len(steps)} sites" if len(steps) > 1 else "")
            new = made["regime"] not in seen
            traces.append(_site(made, x, caption if last else "", colour, first=new, late=x > late))
            seen.add(made["regime"])
    ticks = at.tolist()
    step = max(1, round(len(ticks) / 16))
    layout: dict[str, Any] = {
        **look,
        "height": height,
        "margin": {"l": 70, "r": 20, "t": 96, "b": 62},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 13}},
        "title": {**look["title"], "y": 1 - 22 / height, "yref": "container"},
        "barmode": "overlay",
        "bargap": 0,
        "xaxis": {
            **look["xaxis"],
            "title": {
                **look["xaxis"]["title"],
                "text": "decoder layer" + (" (left: layers of the vision tower)" if deep else ""),
            },
            "tickvals": ticks[::step],
            "ticktext": [str(layer) for layer in layers["layer"].tolist()[::step]],
            "range": [min(ticks) - 0.75, max(ticks) + 0.6],
            "showgrid": False,
        },
        "yaxis": {
            **look["yaxis"],
            "title": {**look["yaxis"]["title"], "text": "visual tokens entering"},
            "range": [0, 1.16 * most],
            "gridcolor": GRID,
        },
    }
    if deep:
        line = {"type": "line", "x0": -0.5, "x1": -0.5, "y0": 0, "y1": 1, "yref": "y domain"}
        layout["shapes"] = [{**line, "line": {"color": INK, "width": 1, "dash": "dash"}}]
        above = {"x": -0.5, "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False, "font": {"color": MUTED}}
        layout["annotations"] = [
            {**above, "text": text, "xanchor": anchor}
            for text, anchor in (("vision tower", "right"), ("language model", "left"))
        ]
    return go.Figure(traces, layout)  # in one step: every update_layout takes Plotly as long as this


def _stretches(layers: pd.DataFrame, sites: pd.DataFrame, colour: str) -> go.Bar:
    """A bar a layer, in the operator's colour from its first site on."""
    first = min(((site["place"] == "decoder", site["layer"]) for site in records(sites)), default=(True, math.inf))
    rows = records(layers)
    past = [first <= (row["place"] == "decoder", row["layer"]) for row in rows]
    return go.Bar(
        x=[row["x"] for row in rows],
        y=[row["tokens"] for row in rows],
        width=1,
        marker={"color": [rgba(colour if one else UNTOUCHED, 0.22) for one in past], "line": {"width": 0}},
        hovertemplate=[f"{row['place']} layer {row['layer']}: {row['tokens']} tokens<extra></extra>" for row in rows],
        showlegend=False,
    )


def _site(site: dict[str, Any], x: float, text: str, colour: str, *, first: bool, late: bool) -> go.Scatter:
    regime = str(site["regime"])
    where = f"before {site['place']} layer {site['layer']}"
    return go.Scatter(
        x=[x, x],
        y=[site["before"], site["after"]],
        mode="lines+markers+text",
        name=escape(regime),
        legendgroup=escape(regime),
        showlegend=first,
        line={"color": colour, "width": 3},
        marker={"color": colour, "symbol": REGIMES.get(regime, REGIMES["identity"]), "size": [0, 13]},
        text=["", f"{text}  " if late else f"  {text}"],
        textposition="top left" if late else "top right",
        textfont={"size": 13, "color": INK},
        cliponaxis=False,
        hovertemplate=f"<b>{where}</b><br>{escape(regime)}, selector {escape(str(site['selector']))}<br>"
        f"{site['before']} tokens before, {site['after']} after<extra></extra>",
    )
