"""The end of a study: its front, the unreduced model and compute-matched designs on questions no search has seen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import optuna
import pandas as pd
import ray
from rich.console import Console
from rich.table import Table

from eos_platform.analysis.stats.intervals import interval
from eos_platform.analysis.stats.pareto import HELD_OUT, front_of, hypervolume, worst_of
from eos_platform.common.errors import EosError
from eos_platform.common.files import write_atomic
from eos_platform.costs.flops import compute_ratio
from eos_platform.costs.match import match
from eos_platform.dashboards.page import alone
from eos_platform.dashboards.pareto import pareto_figure
from eos_platform.engine.cluster.ray_tasks import as_they_end
from eos_platform.engine.cluster.resources import Share
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.store.run_dir import RunDir
from eos_platform.engine.store.stored_trial import operator_of
from eos_platform.engine.trial import Facts, Job, Measured, examine_operator
from eos_platform.objectives import DEFAULT, GROUP, front_title
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import Objective
from eos_platform.terminal.final_bar import final_bar
from eos_platform.terminal.tables import plain_table
from eos_platform.tracking.recorder import Recorder


@dataclass(frozen=True)
class Candidate:
    """One operator of the comparison; None is the unreduced model."""

    name: str
    family: str
    operator: OperatorSpec | None
    trial: int | None = None
    design: str = ""


def candidates(run_dir: RunDir, optuna_study: optuna.Study, facts: Facts) -> list[Candidate]:
    """The unreduced model, the front, and every baseline at the front's compute ratios."""
    searched = [
        Candidate(f"trial {trial.number}", "searched", _operator(trial), trial.number)
        for trial in stored.front(optuna_study)
    ]
    # designs are matched by compute, whatever the objectives: every search has it
    ratios = spread([_ratio(trial) for trial in stored.front(optuna_study)], run_dir.study.final.ratios)
    return [Candidate("unreduced", "unreduced", None), *searched, *_matched(run_dir, facts, ratios)]


def _ratio(trial: optuna.trial.FrozenTrial) -> float:
    return float(trial.user_attrs[stored.MEASURED]["compute_ratio"])


def _operator(trial: optuna.trial.FrozenTrial) -> OperatorSpec:
    return OperatorSpec.from_json(str(operator_of(trial)), f"trial {trial.number}")


def _matched(run_dir: RunDir, facts: Facts, ratios: Sequence[float]) -> Iterator[Candidate]:
    for design in run_dir.study.final.baselines:
        seen: list[OperatorSpec] = []
        for ratio in ratios:
            try:
                operator = match(design, ratio, facts.target, facts.shape, facts.text_tokens)
            except EosError:
                continue  # a design that cannot go that low has no point there
            if operator not in seen:  # near ratios may get the same one
                seen.append(operator)
                yield Candidate(f"{design} at {ratio:.3f}", "hand-designed", operator, design=design)


def spread(values: Sequence[float], most: int) -> list[float]:
    """At most ``most`` of the (positive) values: the ends, then always the one furthest (as a ratio) from the rest."""
    left = sorted(set(values))
    chosen = [left.pop(0), left.pop()][:most] if len(left) > 1 else []
    while left and len(chosen) < most:
        furthest = max(left, key=lambda value: min((abs(math.log(value / other)) for other in chosen), default=0.0))
        chosen.append(furthest)
        left.remove(furthest)
    return sorted(chosen)


def examine(candidates: Sequence[Candidate], job: Job, part: Share, questions: int, console: Console) -> list[Measured]:
    """Held-out results in the order of ``candidates``, several at a time.

    Raises:
        EosError: the workers cannot evaluate.
    """
    # tasks, not actors: those of a node that left are done again by whichever nodes there are, and a process that has
    # the model takes the next one (a GPU's would otherwise end after each)
    task: Any = ray.remote(**part.options, max_retries=4, max_calls=0)(examine_operator)
    results: list[Measured | None] = [None] * len(candidates)
    begun = [task.remote(job, questions, number, one.operator) for number, one in enumerate(candidates)]
    with (
        closing(as_they_end(begun, "the final comparison")) as ended,
        final_bar(console, job.study, len(candidates), questions) as advance,
    ):
        for number, result in ended:
            results[number] = result
            advance()
    return [result for result in results if result is not None]


def points_of(
    candidates: Sequence[Candidate], results: Sequence[Measured], facts: Facts, axes: Sequence[Objective] = DEFAULT
) -> pd.DataFrame:
    """One row an operator, as the analysis and the dashboards read them; every objective is a column."""
    lines = []
    for candidate, result in zip(candidates, results, strict=True):
        operator = candidate.operator or OperatorSpec(target=facts.target)
        low, high = interval(result.scores)
        skills = {f"{GROUP}{skill}": share for skill, share in result.per_skill.items()}
        lines.append(
            {
                "name": candidate.name,
                "family": candidate.family,
                "accuracy": result.accuracy,
                "accuracy_low": low,
                "accuracy_high": high,
                "compute_ratio": float(compute_ratio(operator, facts.shape, facts.text_tokens)),
                "mean_tokens": operator.mean_tokens,
                "tokens_left": operator.tokens_left,
                "regime": operator.regime,
                "trial": candidate.trial,
                "design": candidate.design,
                "questions": len(result.scores),
                **{f"skill:{skill}": share for skill, share in result.per_skill.items()},
                **result.costs,
                **{one.metric: skills.get(one.metric) for one in axes if one.metric.startswith(GROUP)},
            }
        )
    points = pd.DataFrame(lines)
    return points.astype({"trial": "Int64"})


def records(points: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries."""
    return [{str(name): value for name, value in line.items()} for line in points.to_dict("records")]


def finish(
    run_dir: RunDir,
    optuna_study: optuna.Study,
    recorder: Recorder,
    job: Job,
    part: Share,
    facts: Facts,
    console: Console,
) -> pd.DataFrame:
    """Compare, write the study's results, and log them.

    Raises:
        EosError: the results cannot be written, or the workers cannot evaluate.
    """
    compared = candidates(run_dir, optuna_study, facts)
    if not any(candidate.family == "searched" for candidate in compared):
        console.print("no search met its budget: the comparison shows only the unreduced model", style="yellow")
    results = examine(compared, job, part, run_dir.study.final.questions, console)
    for one, result in zip(compared, results, strict=True):
        if result.refused:
            console.print(f"{one.name} is left out: {result.refused}", style="yellow", markup=False, soft_wrap=True)
    left = [(one, result) for one, result in zip(compared, results, strict=True) if not result.refused]
    compared, results = [one for one, _ in left], [result for _, result in left]
    axes = run_dir.study.axes
    points = points_of(compared, results, facts, axes)
    for candidate in compared:
        if candidate.operator:
            file = candidate.name.replace(" ", "-")
            candidate.operator.save(run_dir.operators / f"{file}.json")
    title = front_title(axes)
    figure = pareto_figure(
        points.assign(measured_on=HELD_OUT), f"{run_dir.study.name}: {title[:1].lower()}{title[1:]}", axes=axes
    )
    html = alone(figure)
    table = points.to_csv(index=False)
    write_atomic(run_dir.points, table)
    write_atomic(run_dir.figure, html)
    front = points[front_of(points, axes)]
    recorder.mark_front(int(trial) for trial in front["trial"])
    lines = records(points)
    for candidate, point, result in zip(compared, lines, results, strict=True):
        recorder.point(point, candidate.operator.to_json() if candidate.operator else None, result.kept, result.answers)
    recorder.register(
        [*records(front), *(line for line in lines if line["family"] == "unreduced")],
        {one.trial: one.operator.to_json() for one in compared if one.operator and one.trial is not None},
    )
    recorder.draw_front(records(front))
    searched = points[points["family"] == "searched"]
    recorder.summary(
        {run_dir.points.name: table, run_dir.figure.name: html},
        {"hypervolume": hypervolume(searched, worst_of(points, axes), axes), "front_size": float(len(front))},
    )
    return points


def points_table(points: pd.DataFrame, title: str, axes: Sequence[Objective] = DEFAULT) -> Table:
    """The comparison for a terminal, by rising compute; the front in bold, and starred."""
    others = [one for one in axes if one not in DEFAULT and one.metric != "mean_tokens" and one.metric in points]
    left, right = ("operator", "family", "regime"), ("ratio", "tokens", "accuracy", "95 % interval")
    table = plain_table(f"{title} (*: the front)", left=left, right=(*right, *(one.label for one in others)))
    front = points.assign(front=front_of(points, axes)).sort_values("compute_ratio")
    for point in records(front):
        low, high = point["accuracy_low"], point["accuracy_high"]
        table.add_row(
            point["name"] + (" *" if point["front"] else ""),
            point["family"],
            point["regime"],
            f"{point['compute_ratio']:.3f}",
            f"{point['mean_tokens']:.0f}",
            f"{point['accuracy']:.1%}",
            "" if math.isnan(low) else f"{100 * low:.1f} .. {100 * high:.1f}",
            *("" if pd.isna(point[one.metric]) else one.show(point[one.metric]) for one in others),
            style="bold" if point["front"] else "",
        )
    return table
