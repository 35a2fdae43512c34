"""A study's runs as one table, and what is worked out from it.

Columns of ``operators_frame``, one row a run (a trial, a hand-designed operator, the unreduced model):

====================  =============================================================================================
key, name             MLflow run id; a name for people
family, regime        "searched" | "hand-designed" | "unreduced"; of the operator
design, variant       of a hand-designed one
state                 "complete" | "running" | "pruned" | "failed" | "interrupted"
trial, retry_of       numbers, unknown for others
accuracy, _low, _high share of 1 with its 95 % interval: on held-out questions where asked, else on validation ones
measured_on           which of the two: "held-out" | "validation"
validation            accuracy on validation questions
questions             how many that accuracy is of
compute_ratio         FLOPs of the language model's prefill, reduced / unreduced
mean_tokens           mean visual tokens entering a decoder layer; ``tokens_left``: after the last site
start, end            seconds since the epoch; ``seconds``: of the search
front                 whether it is on the study's front (``analysis/stats/pareto.py``: ``front_of``)
failure               why it failed
seed                  of the search
note                  what people wrote about it
settings              what the study varied, in words: "budget 0.2, learning_rate 0.05"
params.<field>        settings of the search, as text; skill:<name>: held-out accuracy at one kind of question
====================  =============================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eos_platform.analysis.stats.intervals import wilson
from eos_platform.analysis.stats.pareto import front_of, hypervolume, worst_of
from eos_platform.dashboard_data.light_imports import optuna_part
from eos_platform.dashboards.text import short
from eos_platform.objectives import COSTS, DEFAULT, losses
from eos_platform.protocols import Objective
from eos_platform.tracking import names
from eos_platform.tracking.reading.run_reader import RawRun

COLUMNS = (
    *("key", "name", "family", "regime", "design", "variant", "state", "trial", "retry_of"),
    *("accuracy", "accuracy_low", "accuracy_high", "measured_on", "validation", "questions"),
    *("compute_ratio", "mean_tokens", "tokens_left", "start", "end", "seconds", "front", "failure", "seed", "settings"),
    "note",
)
TEXT = ("key", "name", "family", "regime", "design", "variant", "state", "measured_on", "failure", "settings", "note")
SKILL = names.skill("")
MOST, FEWEST = 500, 4  # trials that importance is worked out from
BEST = 3  # of them at least are compared with all: a single one says nothing
DONE = {"FINISHED": "complete", "FAILED": "failed", "KILLED": "interrupted", "RUNNING": "running"}


def operators_frame(
    runs: Iterable[RawRun], *, validation_only: bool = False, axes: Sequence[Objective] = DEFAULT
) -> pd.DataFrame:
    """The table above, trials in order first.

    Args:
        axes: the study's objectives. Each is a column by its metric; ``validation:<metric>`` is what the search found.
        validation_only: leave held-out accuracy aside, so that all trials are measured alike.
    """
    runs = list(runs)
    frame = pd.DataFrame(
        [_costs(run) | _row(run, validation_only) | _measured(run, validation_only, axes) for run in runs]
    )
    frame = frame.reindex(columns=list(dict.fromkeys((*COLUMNS, *frame.columns))))
    others = [name for one in _others(axes) for name in (one.metric, f"validation:{one.metric}")]
    frame = frame.reindex(columns=list(dict.fromkeys((*frame.columns, *others))))
    costs = [name for run in runs for name in _costs(run)]
    for name in {*COLUMNS, *others, *costs} - {*TEXT, "front"}:
        frame[name] = pd.to_numeric(frame[name], errors="coerce").astype(float)
    frame["settings"] = pd.Series(in_words(frame), index=frame.index, dtype=object)
    frame["front"] = front_of(frame[frame["accuracy"].notna()], axes).reindex(frame.index, fill_value=False)
    return frame.sort_values(["trial", "name"], na_position="last", kind="stable", ignore_index=True)


def _row(run: RawRun, validation_only: bool) -> dict[str, Any]:
    tags, metrics = run.tags, run.metrics
    validation = metrics.get(names.ACCURACY)
    held_out = None if validation_only else metrics.get(names.HELDOUT_ACCURACY)
    row: dict[str, Any] = {
        "key": run.run_id,
        "name": run.name,
        "family": tags.get(names.FAMILY, "searched"),
        "regime": tags.get(names.REGIME),
        "design": tags.get(names.DESIGN),
        "variant": tags.get(names.VARIANT),
        "state": tags.get(names.STATE) or DONE.get(run.status, "failed"),
        "trial": tags.get(names.TRIAL),
        "retry_of": tags.get(names.RETRY_OF),
        "validation": validation,
        "start": run.start,
        "end": run.end,
        "failure": tags.get(names.FAILURE),
        "seed": run.params.get("seed"),
        "note": tags.get(names.NOTE),
        **{name: metrics.get(name) for name in ("compute_ratio", "mean_tokens", "tokens_left", "seconds")},
        **{f"params.{name}": value for name, value in run.params.items()},
        **{f"skill:{name.removeprefix(SKILL)}": value for name, value in metrics.items() if name.startswith(SKILL)},
    }
    if held_out is not None:
        row |= {
            "accuracy": held_out,
            "accuracy_low": metrics.get(names.HELDOUT_LOW),
            "accuracy_high": metrics.get(names.HELDOUT_HIGH),
            "measured_on": "held-out",
            "questions": metrics.get(names.QUESTIONS),
        }
    elif validation is not None and row["state"] != "running":
        evaluated = run.params.get("eval_questions", "")
        questions = int(evaluated) if evaluated.isdigit() else None
        low, high = _interval(validation, questions)
        row |= {"accuracy": validation, "accuracy_low": low, "accuracy_high": high}
        row |= {"measured_on": "validation", "questions": questions}
    if row["state"] in ("pruned", "failed"):  # no deployed operator that counts
        row |= {"accuracy": None, "accuracy_low": None, "accuracy_high": None, "measured_on": None}
    return row


def _others(axes: Sequence[Objective]) -> list[Objective]:
    return [one for one in axes if one not in DEFAULT]


def _measured(run: RawRun, validation_only: bool, axes: Sequence[Objective]) -> dict[str, float | None]:
    """The objectives that not every study has: on held-out questions where asked, else on validation ones."""
    metrics, measured = run.metrics, {}
    heldout = not validation_only and names.HELDOUT_ACCURACY in metrics
    for one in _others(axes):
        value = metrics.get(one.metric)
        measured[one.metric] = metrics.get(names.HELDOUT + one.metric, value) if heldout else value
        measured[f"validation:{one.metric}"] = value
    return measured


def _costs(run: RawRun) -> dict[str, float]:
    """Every other number that was measured of it, by its metric's name."""
    apart = (names.CURVE, names.HELDOUT, names.PREFIX)
    return {name: value for name, value in run.metrics.items() if name not in COLUMNS and not name.startswith(apart)}


def measures(frame: pd.DataFrame, axes: Sequence[Objective] = DEFAULT) -> tuple[Objective, ...]:
    """What can be an axis of a figure: the objectives, then every number that at least one operator has."""
    usual = (*axes, *DEFAULT, *COSTS.values(), Objective("seconds", "minimise", "seconds of the search", ".0f"))
    found = {one.metric: one for one in reversed(usual)}
    apart = ("params.", "skill:", "validation:", "accuracy")
    for name in frame.columns:
        if name not in COLUMNS and name not in found and not str(name).startswith(apart):
            found[str(name)] = Objective(str(name), "minimise", str(name).replace("_", " "), ".4g")
    order = dict.fromkeys([*(one.metric for one in usual), *found])
    return tuple(found[name] for name in order if name in frame and frame[name].notna().any())


def validation_column(one: Objective) -> str:
    """The column of what searches found on validation questions."""
    usual = {"accuracy": "validation", "compute_ratio": "compute_ratio"}
    return usual.get(one.metric, f"validation:{one.metric}")


_known_intervals: dict[tuple[int, int], tuple[float, float]] = {}


def _interval(share: float, questions: int | None) -> tuple[float, float]:
    if not questions:
        return math.nan, math.nan
    key = (round(share * questions), questions)
    if key not in _known_intervals:
        _known_intervals[key] = wilson(np.arange(questions) < key[0])
    return _known_intervals[key]


def varied(frame: pd.DataFrame) -> list[str]:
    """The search's fields that differ between trials."""
    trials = frame[frame["trial"].notna()]
    fields = [str(name) for name in frame.columns if str(name).startswith("params.")]
    return [name.removeprefix("params.") for name in fields if trials[name].dropna().nunique() > 1]


def in_words(frame: pd.DataFrame) -> list[str | None]:
    """What was varied of each trial, in a line; nothing for others."""
    fields = varied(frame)
    columns = [frame[f"params.{field}"].tolist() for field in fields]
    lines: list[str | None] = []
    for trial, *values in zip(frame["trial"], *columns, strict=True):
        known = [f"{field} {short(value)}" for field, value in zip(fields, values, strict=True) if not pd.isna(value)]
        lines.append(", ".join(known) if known and not pd.isna(trial) else None)
    return lines


def settings(frame: pd.DataFrame, fields: Iterable[str]) -> pd.DataFrame:
    """Trials with their varied fields as columns of their own, numbers where they are numbers."""
    trials = frame[frame["trial"].notna()].copy()
    trials["accuracy"] = trials["validation"].where(trials["state"] == "complete")
    for column in [str(name) for name in trials.columns if str(name).startswith("validation:")]:
        trials[column.removeprefix("validation:")] = trials[column].where(trials["state"] == "complete")
    for name in fields:
        numbers = pd.to_numeric(trials[f"params.{name}"], errors="coerce")
        trials[name] = numbers if numbers.notna().all() else trials[f"params.{name}"].astype(str)
    return trials


def progress(frame: pd.DataFrame, axes: Sequence[Objective] = DEFAULT) -> pd.DataFrame:
    """``minutes`` and ``hypervolume`` (validation) at every finished trial, in the order they ended."""
    trials = frame[frame["trial"].notna()]
    rows = trials[(trials["state"] == "complete") & trials["validation"].notna() & trials["end"].notna()]
    columns = [validation_column(one) for one in axes]
    rows = rows[rows[columns].notna().all(axis=1)].sort_values("end")
    if rows.empty:
        return pd.DataFrame(columns=["minutes", "hypervolume"])
    begun, lines, area = float(trials["start"].min()), [], 0.0
    metrics = [one.metric for one in axes]
    worst = worst_of(rows[columns].set_axis(metrics, axis=1), axes)  # the same from the first trial to the last
    front: list[list[float]] = []
    for *values, end in rows[[*columns, "end"]].to_numpy(float).tolist():
        if not any(_no_worse(other, values, axes) for other in front):  # else the area is what it was
            front = [other for other in front if not _no_worse(values, other, axes)] + [values]
            area = hypervolume(pd.DataFrame(front, columns=metrics), worst, axes)
        lines.append({"minutes": (end - begun) / 60, "hypervolume": area})
    return pd.DataFrame(lines)


def _no_worse(one: Sequence[float], other: Sequence[float], axes: Sequence[Objective]) -> bool:
    return all(a <= b for a, b in zip(losses(axes, one), losses(axes, other), strict=True))


def importance(frame: pd.DataFrame, axes: Sequence[Objective] = DEFAULT) -> pd.DataFrame:
    """``parameter``, ``objective``, ``share``: PED-ANOVA (Watanabe et al., 2023) over the measured trials.

    Of thousands, five hundred of them, evenly; empty below four.
    """
    import optuna

    importances = optuna_part("importance")
    fields = varied(frame)
    rows = settings(frame, fields)
    columns = {one: "accuracy" if one.metric == "accuracy" else validation_column(one) for one in axes}
    rows = rows[rows["accuracy"].notna() & rows[list(columns.values())].notna().all(axis=1)]
    empty = pd.DataFrame(columns=["parameter", "objective", "share"])
    if len(rows) > MOST:
        rows = rows.iloc[np.linspace(0, len(rows) - 1, MOST).astype(int)]
    if len(rows) < FEWEST or not fields:
        return empty
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {name: distribution(rows[name]) for name in fields}
    lines = []
    for one, column in columns.items():
        study = optuna.create_study(direction="maximize" if one.sign > 0 else "minimize")
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params={name: row[name] for name in fields}, distributions=space, value=float(row[column])
                )
                for row in rows.to_dict("records")
            ]
        )
        evaluator = importances.PedAnovaImportanceEvaluator(target_quantile=max(0.1, min(0.5, BEST / len(rows))))
        shares = importances.get_param_importances(study, evaluator=evaluator)
        lines += [{"parameter": name, "objective": one.label, "share": share} for name, share in shares.items()]
    return pd.DataFrame(lines)


def distribution(values: pd.Series) -> Any:
    """Optuna's distribution that the values could come from."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    distinct = values.nunique()
    # of six trials no budget occurs twice: as categories they would be of no order, and all alike
    if pd.api.types.is_numeric_dtype(values) and (distinct > 6 or 2 * distinct > len(values)) and distinct > 1:
        low, high = float(values.min()), float(values.max())
        return FloatDistribution(low, high, log=low > 0 and high / low > 8)
    return CategoricalDistribution(sorted(values.dropna().unique().tolist()))


def remaining(frame: pd.DataFrame, target: int | None, now: float) -> dict[str, Any]:
    """Counts by state, and how long is left: ``eta`` in seconds, unknown before the first has ended or at the end."""
    trials = frame[frame["trial"].notna()]
    again = set(trials["retry_of"].dropna())
    counting = trials[~trials["trial"].isin(again)]
    counts = {state: int((counting["state"] == state).sum()) for state in ("complete", "running", "pruned", "failed")}
    done = counts["complete"] + counts["pruned"] + counts["failed"]
    left = max(0, (target or 0) - done)
    running = counting[counting["state"] == "running"]
    eta = None
    ended = counting[counting["end"].notna()].sort_values("end")
    if left and len(running) and len(ended):
        # the pace of the last two dozen, so that a pause of a night before a resume says nothing
        recent = ended.tail(24)
        took = (recent["end"] - recent["start"]).mean()
        spent = (now - running["start"]).clip(upper=took).sum()
        eta = max(0.0, (left * took - spent) / max(1, len(running)))
    return {**counts, "done": done, "target": target, "left": left, "eta": eta}
