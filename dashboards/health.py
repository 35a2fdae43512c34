"""How a study goes: trials over time, hypervolume over time, importance of parameters, and all of them at once.

``trials`` has one row a trial: ``state``, ``end`` (seconds since the epoch, unknown while it runs), ``accuracy``,
``compute_ratio`` (unknown where not measured), and the varied parameters as columns. ``progress`` has one row a
finished trial in the order they ended: ``minutes`` (since the first began), ``hypervolume``. ``importance`` has one row
for every (parameter, objective): ``parameter``, ``objective``, ``share`` (0 to 1; those of an objective sum to 1).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from eos_platform.common.printable import printable
from eos_platform.dashboards.palette import GRID, INK, MUTED, OBJECTIVES, SEARCHED, STATES, rgba, theme
from eos_platform.dashboards.text import escape
from eos_platform.objectives import DEFAULT
from eos_platform.protocols import Objective

FEW = 6  # distinct numbers that are taken for a choice
LINES = 600  # of parallel coordinates: more are a smear, and seconds of drawing
SCALE = [[0.0, "#b9c2cc"], [0.5, "#56b4e9"], [1.0, "#004b87"]]


def states_figure(trials: pd.DataFrame, title: str = "Trials over time", empty: str = "") -> go.Figure:
    """How many trials had ended, and how, against minutes since the first began."""
    figure = _blank(title)
    ended = trials[trials["end"].notna()].sort_values("end") if len(trials) else trials
    if ended.empty:
        return _nothing(figure, empty or "No trial has ended yet")
    begun = float(trials["start"].min())
    known = list(STATES)  # a store may hold other words
    for state, rows in sorted(
        ended.groupby("state"), key=lambda pair: known.index(str(pair[0])) if pair[0] in STATES else len(known)
    ):
        label = escape(str(state))
        figure.add_trace(
            go.Scatter(
                x=((rows["end"] - begun) / 60).tolist(),
                y=np.arange(1, len(rows) + 1).tolist(),
                mode="lines" if len(rows) > 60 else "lines+markers",
                name=f"{label} ({len(rows)})",
                line={"color": STATES.get(str(state), MUTED), "width": 2.4, "shape": "hv"},
                hovertemplate="%{y} " + label + " after %{x:.1f} min<extra></extra>",
            )
        )
    figure.update_layout(showlegend=True)
    figure.update_xaxes(title_text="minutes since the first trial began", rangemode="tozero")
    figure.update_yaxes(title_text="trials ended", rangemode="tozero")
    return figure


def hypervolume_figure(
    progress: pd.DataFrame,
    title: str = "Hypervolume over time",
    axes: Sequence[Objective] = DEFAULT,
    empty: str = "",
) -> go.Figure:
    """The area the front dominates (validation accuracy, 0 to 1, by compute ratio, 1 to 0); it can only grow."""
    figure = _blank(title)
    if progress.empty:
        return _nothing(figure, empty or "No trial has been measured yet")
    figure.add_trace(
        go.Scatter(
            x=progress["minutes"].tolist(),
            y=progress["hypervolume"].tolist(),
            mode="lines" if len(progress) > 60 else "lines+markers",
            line={"color": SEARCHED, "width": 2.6, "shape": "hv"},
            fill="tozeroy",
            cliponaxis=False,
            fillcolor=rgba(SEARCHED, 0.10),
            hovertemplate="%{y:.4f} after %{x:.1f} min<extra></extra>",
        )
    )
    low, high = float(progress["hypervolume"].min()), float(progress["hypervolume"].max())
    room = max(0.15 * (high - low), 0.01)
    last = 1.03 * float(progress["minutes"].max()) or 1.0
    figure.update_xaxes(title_text="minutes since the first trial began", range=[0, last])
    if tuple(axes) == DEFAULT:
        figure.update_yaxes(title_text="hypervolume (share of 1)", range=[max(0.0, low - room), min(1.0, high + room)])
    else:  # in the objectives' own units
        over = ", ".join(escape(one.label) for one in axes)
        figure.update_layout(title_subtitle={"text": f"of {over}", "font": {"size": 13, "color": MUTED}})
        figure.update_yaxes(title_text="hypervolume", rangemode="tozero")
    return figure


def importance_figure(importance: pd.DataFrame, title: str = "Parameter importance") -> go.Figure:
    """Bars by parameter, one for each objective."""
    figure = _blank(title)
    if importance.empty:
        return _nothing(figure, "Too few trials<br>(4 measured trials with different settings are needed)")
    order = importance.groupby("parameter")["share"].max().sort_values().index.tolist()
    for number, (objective, rows) in enumerate(importance.groupby("objective", sort=False)):
        figure.add_trace(
            go.Bar(
                x=(100 * rows["share"]).tolist(),
                y=[escape(str(name)) for name in rows["parameter"]],
                orientation="h",
                name=escape(str(objective)),
                marker={
                    "color": OBJECTIVES[number % len(OBJECTIVES)],
                    "pattern": {"shape": ("", "/", "x")[number % 3], "solidity": 0.25, "fgcolor": "white"},
                },
                hovertemplate="%{y}: %{x:.0f} % of the variance<extra>%{fullData.name}</extra>",
            )
        )
    figure.update_layout(barmode="group", bargap=0.3, showlegend=True)
    if importance["objective"].nunique() > 2:  # their names take two lines
        figure.update_layout(margin_t=112)
    figure.update_xaxes(title_text="share of importance (%)", range=[0, 100])
    figure.update_yaxes(categoryorder="array", categoryarray=[escape(name) for name in order], automargin=True)
    return figure


def parallel_figure(
    trials: pd.DataFrame,
    varied: Sequence[str],
    title: str = "Trials and their parameters",
    axes: Sequence[Objective] = DEFAULT,
    log: Collection[str] = (),
    empty: str = "",
) -> go.Figure:
    """Parallel coordinates: a line a measured trial through its parameters to the objectives, the first one last.

    ``log`` names what is varied on a logarithmic scale, whose axes are so, too; unknown, what spans decades is taken
    for it. A column ``key`` of the trials goes into the figure's ``meta``, line by line: what a click opens.
    Of thousands, the best tenth (in the first objective) of what is drawn and others evenly, which the title says.
    """
    first, *more = axes
    known = [one.metric for one in axes]
    rows = trials[trials.reindex(columns=known).notna().all(axis=1)] if len(trials) else trials
    if len(rows) > LINES:
        best = (rows.nlargest if first.sign > 0 else rows.nsmallest)(LINES // 10, first.metric)
        others = rows.drop(best.index)
        others = others.iloc[np.linspace(0, len(others) - 1, LINES - len(best)).astype(int)]
        title = f"{title} ({LINES} of {len(rows)} measured)"
        rows = pd.concat([others, best])
    figure = _blank(title)
    if rows.empty:
        return _nothing(figure, empty or "No trial has been measured yet")
    dimensions = [_dimension(name, rows[name], log=name in log) for name in varied]
    measured = [(_label(one), _values(one, rows)) for one in (*more, first)]
    dimensions += [{"label": label, "values": values} for label, values in measured]
    label, values = measured[-1]
    figure.add_trace(
        go.Parcoords(
            dimensions=dimensions,
            line={
                "color": values,
                "colorscale": SCALE,
                "showscale": True,
                "colorbar": {"title": {"text": label, "font": {"size": 12}}, "thickness": 12},
            },
            unselected={"line": {"opacity": 0.06}},
            labelfont={"size": 13, "color": INK},
            tickfont={"size": 11, "color": INK},
            rangefont={"size": 1, "color": "rgba(0,0,0,0)"},
        )
    )
    if "key" in rows:
        figure.update_layout(meta={"keys": rows["key"].astype(str).tolist()})
    figure.update_layout(height=420, margin={"l": 80, "r": 40, "t": 110, "b": 30})
    return figure


def why_nothing(trials: pd.DataFrame) -> str:
    """Why figures of these trials have nothing to show."""
    if trials.empty:
        return "No trials: a comparison has none;<br>its operators are in the Front and Table views"
    counts = trials["state"].value_counts().to_dict()
    ended = int(trials["end"].notna().sum())
    if not ended:
        return f"{len(trials)} running, none finished yet"
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"{ended} ended, but none was measured:<br>{escape(told)}"


def _label(objective: Objective) -> str:
    return escape(objective.label) + (" (%)" if objective.format.endswith("%") else "")


def _values(objective: Objective, rows: pd.DataFrame) -> list[float]:
    scale = 100 if objective.format.endswith("%") else 1
    return list((scale * rows[objective.metric]).tolist())


def _dimension(name: str, values: pd.Series, *, log: bool = False) -> dict[str, object]:
    """One axis: numbers as they are (logarithms where they span decades), words in their order."""
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().all():
        if numbers.min() > 0 and numbers.max() > numbers.min() and (log or numbers.max() / numbers.min() > 30):
            logs = np.log10(numbers)
            ticks = np.linspace(float(logs.min()), float(logs.max()), 5)
            return {
                "label": f"{escape(name)} (log)",
                "values": logs.tolist(),
                "tickvals": ticks.tolist(),
                "ticktext": [f"{10**tick:.2g}" for tick in ticks],
            }
        found: dict[str, object] = {"label": escape(name), "values": numbers.tolist()}
        few = sorted(numbers.unique())
        if len(few) <= FEW and 2 * len(few) <= len(numbers):  # a choice: nothing lies between
            found |= {"tickvals": few, "ticktext": [f"{value:g}" for value in few]}
        return found
    words = values.astype(object).where(values.notna(), "not given").astype(str)
    known = sorted(words.unique())
    places = {word: place for place, word in enumerate(known)}
    shown = [printable(word, 15) for word in known]  # no markup there, unlike in the label
    return {
        "label": escape(name),
        "values": words.map(places).tolist(),
        "tickvals": list(places.values()),
        "ticktext": shown,
    }


def _blank(title: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(theme(escape(title)))
    figure.update_layout(
        height=360,
        margin={"l": 70, "r": 20, "t": 84, "b": 62},
        showlegend=False,
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"size": 13}},
        title={"y": 1 - 20 / 360, "yref": "container"},
    )
    figure.update_xaxes(gridcolor=GRID)
    figure.update_yaxes(gridcolor=GRID)
    return figure


def _nothing(figure: go.Figure, text: str) -> go.Figure:
    figure.add_annotation(
        text=text, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"size": 15, "color": MUTED}
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure
