"""Prefill time of operators beside the unreduced model and their oracles."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from eos_platform.dashboards.palette import FAMILIES, INK, MUTED, design_styles

BEST_FIRST = ("compiled", "captured", "eager")  # the mode that is drawn: the fastest that was timed


def speed_figure(rows: pd.DataFrame) -> go.Figure:
    """Prefill milliseconds against mean visual tokens, one line an operator and batch.

    Args:
        rows: as ``eos bench`` writes them: ``operator, batch, tokens``, and by mode ``<mode>_prefill_ms`` and
            ``<mode>_oracle_ms``.
    """
    figure = go.Figure()
    styles = design_styles(sorted({str(name) for name in rows["operator"]}))
    for batch, here in rows.groupby("batch"):
        for name, found in here.groupby("operator"):
            mode = _mode(found)
            if mode is None:
                continue
            found = found.sort_values("tokens")
            times = found[f"{mode}_prefill_ms"]
            if name == "unreduced":
                figure.add_hline(
                    y=float(times.iloc[0]),
                    line={"color": INK, "dash": "dash"},
                    annotation_text=f"unreduced, batch {batch}",
                )
                continue
            shared = {"x": found["tokens"], "legendgroup": f"{name}-{batch}"}
            colour = FAMILIES["searched"] if str(name).startswith("searched") else styles[str(name)].colour
            figure.add_scatter(
                **shared,
                y=times,
                name=f"{name}, batch {batch} ({mode})",
                mode="lines+markers",
                line={"color": colour},
                hovertemplate="%{x:.0f} tokens: %{y:.2f} ms",
            )
            if f"{mode}_oracle_ms" in found and name == here["operator"].iloc[-1]:
                figure.add_scatter(
                    **shared,
                    y=found[f"{mode}_oracle_ms"],
                    name=f"oracle of {name}, batch {batch}",
                    mode="lines",
                    line={"color": MUTED, "dash": "dot"},
                    hovertemplate="oracle: at %{x:.0f} tokens: %{y:.2f} ms",
                )
    figure.update_layout(
        title="Prefill time: what an operator saves",
        xaxis_title="mean visual tokens a layer",
        yaxis_title="prefill (ms)",
        yaxis_type="log",
        template="plotly_white",
    )
    return figure


def _mode(rows: pd.DataFrame) -> str | None:
    for mode in BEST_FIRST:
        if f"{mode}_prefill_ms" in rows and rows[f"{mode}_prefill_ms"].notna().all():
            return mode
    return None
