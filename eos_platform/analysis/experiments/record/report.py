"""What a record says: tables as papers print them, of what was run alone; and before that, what would be run."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from eos_platform.analysis.benchmark.run import UNREDUCED
from eos_platform.analysis.benchmark.table import COLUMNS, average
from eos_platform.analysis.experiments.record.plan import Plan
from eos_platform.analysis.experiments.record.work import Outcome, of_tokens
from eos_platform.search.config import SearchConfig
from eos_platform.search.portfolio.find import planned_steps

ANSWER = 300  # bytes of an answer on disk, about


def markdown(plan: Plan, outcome: Outcome) -> str:
    """A model's page: the check, a table a number of tokens, and what was not run."""
    of = plan.models[outcome.model]
    lines = [f"# {outcome.model}", "", "## Unreduced, beside what is published", "", *_check(outcome)]
    lines += ["", f"Published: {of.source}." if of.source else "", ""]
    tasks = list(dict.fromkeys(row["task"] for row in outcome.rows))
    for tokens in plan.tokens if tasks else ():
        rows = [dict(row) for row in of_tokens(outcome.rows, tokens)]
        means = average(rows)
        if len(means) < 2:
            continue
        lines += [f"## {tokens} visual tokens", "", f"| operator | {' | '.join(tasks)} | of unreduced | published |"]
        lines += ["| --- " + "| ---: " * (len(tasks) + 1) + "| --- |"]
        for name in sorted(means, key=lambda one: (one != UNREDUCED, isnan(means[one]), -means[one])):
            cells = {row["task"]: row for row in rows if row["operator"] == name}
            shown = [f"{cells[task]['value']:.1f}" for task in tasks]
            lines.append(f"| {name} | {' | '.join(shown)} | {_per_cent(means[name])} | {of.known(name)} |")
        lines += ["", _beaten(plan, outcome, tokens, means), ""]
    if tasks and of.designs:
        sources = (f"- {letter}: {one.source}." for letter, one in of.designs.items())
        lines += [
            "## Published",
            "",
            "Means over other benchmarks, prompts and tools than the rows above:",
            "",
            *sources,
            "",
        ]
    if outcome.missing:
        lines += ["## Not run", "", *(f"- {name}: {why}" for name, why in outcome.missing.items()), ""]
    return "\n".join(lines)


def _check(outcome: Outcome) -> list[str]:
    if not outcome.checked:
        return ["None of the benchmarks that were asked has a published score: nothing vouches for these tables."]
    lines = [
        "| benchmark | questions | measured, 95 % | published | within | near |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for one in outcome.checked:
        measured = f"{one['measured']:.1f} ({one['low']:.1f} .. {one['high']:.1f})"
        numbers = f"{one['questions']:,} | {measured} | {one['published']:g} | {one['within']:g}"
        lines.append(f"| {one['task']} | {numbers} | {'yes' if one['near'] else 'NO'} |")
    return lines


def _beaten(plan: Plan, outcome: Outcome, tokens: int, means: Mapping[str, float]) -> str:
    """What may be said against the best published number, and what may not."""
    of = plan.models[outcome.model]
    best, mine = of.to_beat.get(str(tokens)), means.get(f"searched-{tokens}")
    if mine is None:
        return "No searched operator was measured here."
    if isnan(mine):
        return "The unreduced model scores 0 on a benchmark: nothing is a share of that."
    said = f"Searched: {mine:.1f} % of unreduced"
    if best is None:
        return f"{said}. No published number of this model at {tokens} tokens is known to compare with."
    if outcome.missing.keys() & set(of.benchmarks):
        return f"{said}; not all benchmarks were run, so nothing is said against {best.value}."
    if not outcome.sound:
        return f"{said}; the check above failed, so nothing is said against {best.value}."
    return (
        f"{said}; published best {best.value} ({best.source}), a mean over other sets of "
        "benchmarks: the rows above are the like-for-like comparison."
    )


def _per_cent(mean: float) -> str:
    return "-" if isnan(mean) else f"{mean:.1f}"


def table_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Every number with its intervals."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(COLUMNS))
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def dry_run(
    plan: Plan, models: Mapping[str, str], root: Path, rate: float, step: float, limit: int | None
) -> list[str]:
    """What would be done, what is missing, and about how long it takes; nothing is loaded.

    Args:
        plan: what is to be measured.
        models: folders by name.
        root: of the downloads.
        rate: questions a second.
        step: seconds of a search's step.
        limit: questions of each benchmark, at most.
    """
    lines, wanted, seconds, disk = [], 0.0, 0.0, 0.0
    names = list(dict.fromkeys(name for model in models for name in plan.models[model].benchmarks))
    for model, folder in models.items():
        of = plan.models[model]
        there = Path(folder).is_dir() or ("/" not in folder and not of.gigabytes)
        lines.append(f"model {model}: {folder}: {_there(there)}; {of.download}, {of.gigabytes:g} GB")
        wanted += 0 if there else of.gigabytes
    for name in names:
        asked, place = plan.benchmarks[name], root / name
        lines.append(f"benchmark {name}: {place}: {_there(place.is_dir())}; {asked.download}, {asked.gigabytes:g} GB")
        wanted += 0 if place.is_dir() else asked.gigabytes
    data = root / plan.search.folder / plan.search.data
    lines.append(f"to search on: {data}: {_there(data.exists())}; {plan.search.download}, {plan.search.gigabytes:g} GB")
    wanted += 0 if data.exists() else plan.search.gigabytes
    operators = 1 + len(plan.tokens) * (1 + len(plan.designs))
    config = SearchConfig(steps=plan.search.steps, portfolio=plan.search.portfolio)
    for model in models:
        counts = [_questions(plan, name, limit) for name in plan.models[model].benchmarks]
        searching = len(plan.tokens) * planned_steps(config) * step
        asking = sum(counts) * operators / rate
        seconds, disk = seconds + searching + asking, disk + sum(counts) * operators * ANSWER / 1e9
        lines.append(
            f"{model}: {sum(counts):,} questions, {operators} operators ({len(plan.designs)} designs and a "
            f"searched one at {', '.join(map(str, plan.tokens))} tokens, and none): {asking / 3600:,.1f} h of asking, "
            f"{searching / 3600:,.1f} h of searching"
        )
    lines.append(
        f"in all {seconds / 3600:,.1f} h if {rate:g} questions are answered a second and a step of a search takes "
        f"{step:g} s: assumptions, not measured here (--rate, --step-seconds)"
    )
    lines.append(f"downloads that are missing: {wanted:,.1f} GB; answers take about {disk:.1f} GB more")
    return lines


def _questions(plan: Plan, name: str, limit: int | None) -> int:
    asked = plan.benchmarks[name]
    return min(one for one in (asked.questions, asked.limit, limit) if one is not None)


def _there(there: bool) -> str:
    return "there" if there else "MISSING"
