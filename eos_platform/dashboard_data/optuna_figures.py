"""Optuna's figures of a study, from the runs in MLflow: history, timeline, slice, contour, rank.

The Optuna store itself may be on another machine; what its figures need of a trial is in the trial's run.
"""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from eos_platform.common.errors import unknown
from eos_platform.dashboard_data.light_imports import optuna_part
from eos_platform.dashboards.palette import GRID, MUTED, theme
from eos_platform.dashboards.palette import OBJECTIVES as COLOURS
from eos_platform.dashboards.palette import STATES as COLOUR_OF
from eos_platform.dashboards.text import escape
from eos_platform.protocols import LARGE, Objective

KINDS = {
    "history": "History of {}",
    "timeline": "Timeline of the trials",
    "slice": "{} by each setting",
    "contour": "{} by pairs of settings",
    "rank": "Rank in {} by pairs of settings",
}
MOST = 500  # trials that are drawn; of more, evenly
MANY = 600  # points beyond which the history is drawn by the GPU
PAIRED = 4  # settings that pairs are made of
STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "interrupted": "FAIL", "running": "RUNNING"}


def optuna_figure(
    kind: str, trials: pd.DataFrame, fields: Sequence[str], space: Mapping[str, Any], objective: Objective, column: str
) -> go.Figure:
    """One of ``KINDS``.

    Args:
        trials: as ``frames.settings`` gives them, one row a trial.
        fields: what was varied; ``space`` has Optuna's distribution of each.
        objective: what is judged; ``column``: where its validation value is.

    Raises:
        EosError: a figure of another name.
    """
    if kind not in KINDS:
        raise unknown("figure", kind, KINDS)
    scale = 100 if objective.format.endswith("%") else 1
    label = f"{objective.label} (%)" if scale > 1 else objective.label
    title = KINDS[kind].format(objective.label)
    title = f"{title[:1].upper()}{title[1:]}"
    trials = trials.assign(**{column: scale * trials[column].astype(float)})
    if kind == "history":
        return _history(trials, objective, column, label, title)
    study = study_of(trials, fields, space, objective, column)
    target: dict[str, Any] = {"target": lambda trial: trial.values[0], "target_name": label}
    varied = list(fields)[:PAIRED]
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    if kind != "timeline" and not complete:
        return _styled(go.Figure(), title, "No trial has been measured yet")
    if kind in ("contour", "rank") and len(varied) < 2:
        return _styled(go.Figure(), title, "Pairs need two settings that were varied")
    if kind == "slice" and not varied:
        return _styled(go.Figure(), title, "No setting was varied")
    pictures = optuna_part("visualization")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of these are experimental to Optuna
        if kind == "timeline":
            figure = _in_our_words(pictures.plot_timeline(study))
        elif kind == "slice":
            figure = pictures.plot_slice(study, params=list(fields), **target)
        elif kind == "contour":
            figure = pictures.plot_contour(study, params=varied, **target)
        else:
            figure = pictures.plot_rank(study, params=varied, **target)
    return _styled(figure, title, "")


def _in_our_words(figure: go.Figure) -> go.Figure:
    """The timeline with the colours and names that states have on every page."""
    for trace in figure.data:
        state = next((ours for ours, theirs in STATES.items() if theirs == trace.name), str(trace.name).lower())
        trace.update(name=state, marker={"color": COLOUR_OF.get(state, MUTED)})
    figure.update_xaxes(title_text="time")
    figure.update_yaxes(title_text="trial")
    return figure


def _history(trials: pd.DataFrame, objective: Objective, column: str, label: str, title: str) -> go.Figure:
    """Every trial's value and the best so far. Optuna draws no best value of an objective among several, and of the
    trials only those that it is given, which is all that a best value could be of."""
    done = trials[(trials["state"] == "complete") & trials[column].notna()].sort_values("trial")
    if done.empty:
        return _styled(go.Figure(), title, "No trial has been measured yet")
    numbers, values = done["trial"].astype(int), done[column].astype(float)
    told = "%{y:.4~s}" if values.abs().max() >= LARGE else "%{y:.4g}"
    best = values.cummax() if objective.sign > 0 else values.cummin()
    dots = (go.Scattergl if len(done) > MANY else go.Scatter)(
        x=numbers.tolist(),
        y=values.tolist(),
        mode="markers",
        name=label,
        marker={"color": COLOURS[0], "size": 7 if len(done) <= MANY else 4},
        hovertemplate=f"trial %{{x}}: {told}<extra></extra>",
    )
    first = best.ne(best.shift())  # a step where it got better, and the end: thousands of equal points say no more
    first.iloc[-1] = True
    line = go.Scatter(
        x=numbers[first].tolist(),
        y=best[first].tolist(),
        mode="lines",
        name="best so far",
        line={"color": COLOURS[1], "width": 2, "shape": "hv"},
        hovertemplate=f"best up to trial %{{x}}: {told}<extra></extra>",
    )
    names = {
        "xaxis": {"title": {"text": "trial"}, "tickformat": "d"},
        "yaxis": {"title": {"text": label}},
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
    }
    return _styled(go.Figure([dots, line], names), title, "")


def study_of(
    trials: pd.DataFrame, fields: Sequence[str], space: Mapping[str, Any], objective: Objective, column: str
) -> Any:
    """A study in memory with these trials."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize" if objective.sign > 0 else "minimize")
    if len(trials) > MOST:
        trials = trials.iloc[np.linspace(0, len(trials) - 1, MOST).astype(int)]
    for row in trials.to_dict("records"):
        state, value = optuna.trial.TrialState[STATES.get(str(row["state"]), "FAIL")], row.get(column)
        if state.name == "COMPLETE" and (value is None or pd.isna(value)):
            state = optuna.trial.TrialState.FAIL
        done = state.name == "COMPLETE"
        known = {name: row[name] for name in fields if not pd.isna(row[name])}
        made = optuna.trial.create_trial(
            state=state,
            value=float(value) if done and value is not None else None,
            params=known,
            distributions={name: space[name] for name in known},
        )
        made.datetime_start = _at(row["start"])
        made.datetime_complete = _at(row["end"]) if state.name != "RUNNING" else None
        study.add_trial(made)
    return study


def _at(seconds: Any) -> datetime.datetime | None:
    return None if pd.isna(seconds) else datetime.datetime.fromtimestamp(float(seconds))


def _styled(figure: go.Figure, title: str, why: str) -> go.Figure:
    """The platform's look, and words where there is nothing to draw."""
    look = {name: value for name, value in theme(escape(title)).items() if name not in ("xaxis", "yaxis")}
    figure.update_layout(template="none", colorway=list(COLOURS), **look)
    lines = {"gridcolor": GRID, "zeroline": False, "linecolor": MUTED, "tickcolor": MUTED, "automargin": True}
    figure.update_xaxes(**lines)
    figure.update_yaxes(**lines)
    figure.update_layout(height=520, margin={"t": 76, "b": 74, "l": 74, "r": 30})
    figure.update_layout(title={"y": 1 - 20 / 520, "yref": "container"})
    if why:
        figure.add_annotation(text=escape(why), x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font_size=15)
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
    return figure
