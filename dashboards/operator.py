"""What an operator does, drawn: visual tokens over the depth of the model, and the sites where they go.

``layers`` has one row a layer: ``place`` ("tower" | "decoder"), ``layer``, ``tokens`` (that enter it). ``sites`` has
one row a site, in order: ``place``, ``layer`` (it stands before), ``before``, ``after`` (tokens), ``regime``,
``selector``.
"""

from __future__ import annotations

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
    figure = go.Figure()
    figure.update_layout(theme(escape(title)))
    if layers.empty:
        figure.add_annotation(text="No layer", x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
        return figure
    deep = int(layers.loc[layers["place"] == "tower", "layer"].max()) + 1 if (layers["place"] == "tower").any() else 0
    at = layers["layer"] - deep * (layers["place"] == "tower")
    most = max(int(layers["tokens"].max()), int(sites["before"].max()) if len(sites) else 0, 1)
    _stretches(figure, layers.assign(x=at), sites, colour)
    seen: set[str] = set()
    late = at.min() + 0.7 * (at.max() - at.min())  # from here on a label is left of its site, not cut at the edge
    for _, here in sites.groupby(["place", "layer"], sort=False):
        steps = records(here)
        x = steps[0]["layer"] - (deep if steps[0]["place"] == "tower" else 0) - 0.5
        for made in steps:
            last = made is steps[-1]
            caption = f"{steps[0]['before']} → {made['after']}" + (f" in {len(steps)} sites" if len(steps) > 1 else "")
            _site(figure, made, x, caption if last else "", colour, first=made["regime"] not in seen, late=x > late)
            seen.add(made["regime"])
    if deep:
        figure.add_vline(x=-0.5, line={"color": INK, "width": 1, "dash": "dash"})
        for text, x, anchor in (("vision tower", -0.5, "right"), ("language model", -0.5, "left")):
            figure.add_annotation(
                x=x, y=1, yref="paper", yanchor="bottom", text=text, showarrow=False, xanchor=anchor, font_color=MUTED
            )
    ticks = at.tolist()
    step = max(1, round(len(ticks) / 16))
    figure.update_layout(
        height=height,
        margin={"l": 70, "r": 20, "t": 96, "b": 62},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 13}},
        title={"y": 1 - 22 / height, "yref": "container"},
        barmode="overlay",
        bargap=0,
    )
    figure.update_xaxes(
        title_text="decoder layer" + (" (left: layers of the vision tower)" if deep else ""),
        tickvals=ticks[::step],
        ticktext=[str(layer) for layer in layers["layer"].tolist()[::step]],
        range=[min(ticks) - 0.75, max(ticks) + 0.6],
        showgrid=False,
    )
    figure.update_yaxes(title_text="visual tokens entering", range=[0, 1.16 * most], gridcolor=GRID)
    return figure


def _stretches(figure: go.Figure, layers: pd.DataFrame, sites: pd.DataFrame, colour: str) -> None:
    """A bar a layer, in the operator's colour from its first site on."""
    placed = records(sites)
    for row in records(layers):
        rank = (row["place"] == "decoder", row["layer"])
        past = [site for site in placed if (site["place"] == "decoder", site["layer"]) <= rank]
        figure.add_trace(
            go.Bar(
                x=[row["x"]],
                y=[row["tokens"]],
                width=1,
                marker={"color": rgba(colour if past else UNTOUCHED, 0.22), "line": {"width": 0}},
                hovertemplate=f"{row['place']} layer {row['layer']}: {row['tokens']} tokens<extra></extra>",
                showlegend=False,
            )
        )


def _site(
    figure: go.Figure, site: dict[str, Any], x: float, text: str, colour: str, *, first: bool, late: bool
) -> None:
    regime = str(site["regime"])
    where = f"before {site['place']} layer {site['layer']}"
    figure.add_trace(
        go.Scatter(
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
    )
