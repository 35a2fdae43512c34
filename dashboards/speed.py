"""Prefill time of operators beside the unreduced model and their lower bounds."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from eos_platform.dashboards.palette import FAMILIES, GRID, INK, MUTED, design_styles, theme
from eos_platform.dashboards.text import escape

BEST_FIRST = ("compiled", "captured", "eager")  # the mode that is drawn: the fastest that was timed


def speed_figure(rows: pd.DataFrame) -> go.Figure:
    """Prefill milliseconds against mean visual tokens: a panel a batch, a line an operator.

    Args:
        rows: as ``eos bench`` writes them: ``operator, batch, tokens``, and by mode ``<mode>_prefill_ms`` and
            ``<mode>_bound_ms``.
    """
    batches = sorted(rows["batch"].unique())
    titles = [f"batch {batch}" for batch in batches]
    figure = make_subplots(cols=len(batches), subplot_titles=titles, horizontal_spacing=0.08)
    styles = design_styles(sorted({str(name) for name in rows["operator"]}))
    shown: set[str] = set()

    def line(column: int, name: str, x: list[float], y: list[float], **look: Any) -> None:
        figure.add_scatter(
            x=x,
            y=y,
            name=escape(name),
            legendgroup=name,
            showlegend=name not in shown,
            hovertemplate=f"{escape(name)}: %{{x:.0f}} tokens, %{{y:.2f}} ms<extra></extra>",
            row=1,
            col=column,
            **look,
        )
        shown.add(name)

    for column, batch in enumerate(batches, 1):
        here = rows[rows["batch"] == batch]
        most = float(here["tokens"].max())  # the unreduced model's, where it was timed
        for name, group in here.groupby("operator", sort=False):
            group = group.sort_values("tokens")
            if name == "unreduced":
                mode = _mode(group)
                if mode is not None:
                    level = float(group[f"{mode}_prefill_ms"].iloc[0])
                    line(
                        column,
                        "unreduced",
                        [0.0, most],
                        [level] * 2,
                        mode="lines+markers",
                        line={"color": INK, "dash": "dash"},
                        marker={"symbol": ["circle", "star"], "size": [0, 11], "color": INK},
                    )
                continue
            mode = _mode(group)
            if mode is None:
                continue
            style = styles[str(name)]
            colour = FAMILIES["searched"] if str(name).startswith("searched") else style.colour
            look = {"mode": "lines+markers", "line": {"color": colour}, "marker": {"symbol": style.symbol, "size": 9}}
            tokens = group["tokens"].tolist()
            line(column, f"{name} ({mode})", tokens, group[f"{mode}_prefill_ms"].tolist(), **look)
            if f"{mode}_bound_ms" in group:
                dotted = {"color": colour, "dash": "dot", "width": 1}
                line(
                    column,
                    f"lower bound: {name}",
                    tokens,
                    group[f"{mode}_bound_ms"].tolist(),
                    mode="lines" if len(group) > 1 else "markers",
                    line=dotted,
                    marker={"symbol": "line-ew-open", "size": 16, "color": colour, "line": {"width": 2}},
                )
    figure.update_layout(
        theme("Prefill time of operators", "dotted: lower bound (the same model on an input with that many tokens)")
    )
    figure.update_layout(margin_t=130)
    shared = {"showline": True, "linecolor": MUTED, "gridcolor": GRID, "zeroline": False}
    figure.update_xaxes(title_text="mean visual tokens per layer", title_font_size=14, rangemode="tozero", **shared)
    figure.update_yaxes(rangemode="tozero", **shared)
    figure.update_yaxes(title_text="prefill (ms)", col=1)
    return figure


def _mode(rows: pd.DataFrame) -> str | None:
    for mode in BEST_FIRST:
        if f"{mode}_prefill_ms" in rows and rows[f"{mode}_prefill_ms"].notna().all():
            return mode
    return None
