"""What it costs a search to keep to what a server's engine serves exactly.

    python -m eos_platform.serve.servable --models bundled,bundled-qwen --ratios .20,.10,.05 --seeds 3 \\
        --processes 6 --out servable.jsonl

Of every model and compute ratio, each with every seed: ``free``, a search as it comes; ``single``, the same from one
start; ``steered`` and ``unsteered``, searches under ``servable: vllm``, with the default's rank of steering and without
any. All deployed, on held-out questions. ``unsteered-long`` (three times the steps) and ``unsteered-pairs`` (rounds of
merging first) are run where ``--kinds`` names them. One line of JSON a cell; what stands there is not run again, and
the operators found lie beside it, for ``python -m eos_platform.serve.agreement``.

The last column of the table says by how many points a servable search may fall behind ``free``, and whether it does.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eos_platform.analysis.comparison.settings import parse_ratios, parse_search
from eos_platform.analysis.experiments.tables.cells import Cell, add_options, measure_all, read, row_of
from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError, unknown
from eos_platform.common.files import check_writable
from eos_platform.search.config import SearchConfig
from eos_platform.search.portfolio.find import find
from eos_platform.serve.plan import ServingPlan, Verdict
from eos_platform.tasks import evaluate
from eos_platform.tasks.base import Subject

WHOLE, FREE = "unreduced", "free"
RANK = SearchConfig.model_fields["steering_rank"].default
LONG = 3  # times the steps
KINDS: dict[str, dict[str, Any]] = {
    FREE: {},
    "single": {"portfolio": False},
    "steered": {"servable": "vllm", "steering_rank": RANK},
    "unsteered": {"servable": "vllm"},
}
NAMED: dict[str, dict[str, Any]] = {  # run where they are named
    "unsteered-long": {"servable": "vllm"},
    "unsteered-pairs": {"servable": "vllm", "start": "pairs"},
}
# points that a servable search may be behind a free one, by compute ratio; less compute, more points
ALLOWED = {"steered": {0.05: 0.5, 0.1: 0.5, 0.2: 0.5}, "unsteered": {0.05: 2.0, 0.1: 1.0, 0.2: 0.5}}


def cells(models: Sequence[str], kinds: Sequence[str], ratios: Sequence[float], seeds: int) -> list[Cell]:
    """What there is to measure: the unreduced model once, searches at every ratio with every seed."""
    found: list[Cell] = []
    for model in models:
        found.append((model, WHOLE, 1.0, 0))
        found += [(model, kind, ratio, seed) for kind in kinds for ratio in ratios for seed in range(seeds)]
    return found


def config_of(cell: Cell, settings: dict[str, Any]) -> SearchConfig:
    """The search of a cell; its kind has the last word.

    Raises:
        EosError: a setting that cannot be.
    """
    _, kind, ratio, seed = cell
    config = SearchConfig.of({**settings, **(KINDS | NAMED)[kind], "budget": ratio, "seed": seed}, "--set")
    return config.model_copy(update={"steps": LONG * config.steps}) if kind == "unsteered-long" else config


def measure(workload: Subject, cell: Cell, questions: int, settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """One cell.

    Args:
        questions: held-out ones.
        folder: where the operator is put.

    Raises:
        EosError: a setting that cannot be, or a budget that nothing reaches.
    """
    model, kind, ratio, seed = cell
    if kind == WHOLE:
        return row_of(cell) | {"heldout": evaluate(workload, None, "heldout", questions).accuracy}
    config = config_of(cell, settings)
    workload.encoded("search", config.search_questions)  # in no search's time
    workload.few("validation", config.eval_questions)
    begun = time.monotonic()
    result = find(workload, config)
    seconds = time.monotonic() - begun
    folder.mkdir(parents=True, exist_ok=True)
    result.operator.save(folder / f"{model}-{kind}-{ratio:g}-{seed}.json".replace("/", "_"))
    plan = ServingPlan.of(result.operator)
    return row_of(cell) | {
        "heldout": evaluate(workload, result.operator, "heldout", questions).accuracy,
        "validation": result.accuracy,
        "compute_ratio": result.compute_ratio,
        "counts": list(result.operator.counts),
        "start": result.operator.provenance.get("start", ""),
        "served": plan.verdict.value,
        "why": list(plan.reasons),
        "seconds": seconds,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A line for every model, ratio and kind: means over seeds, the worst seed, points behind ``free``."""
    lines = [
        f"{'model':20}{'ratio':>6} {'kind':16}{'seeds':>6}{'heldout %':>11}{'worst':>7}{'behind':>8}{'served':>10}"
        f"{'s':>7}  allowed"
    ]
    for row in rows:
        if row["kind"] == WHOLE:
            lines.append(f"{row['model']:20}{1:>6g} {WHOLE:16}{1:>6}{100 * row['heldout']:>11.2f}")
    groups: dict[tuple[str, float, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["kind"] != WHOLE:
            groups.setdefault((row["model"], row["ratio"], row["kind"]), []).append(row)
    means = {key: 100 * statistics.fmean(row["heldout"] for row in group) for key, group in groups.items()}
    for key in sorted(groups, key=lambda key: (key[0], -key[1], [*KINDS, *NAMED].index(key[2]))):
        (model, ratio, kind), group = key, groups[key]
        behind = means[model, ratio, FREE] - means[key] if (model, ratio, FREE) in means else None
        allowed = ALLOWED.get(kind.split("-")[0], {}).get(ratio)
        held = "" if behind is None or allowed is None else f"{allowed:g}: {'held' if behind <= allowed else 'missed'}"
        seconds = statistics.fmean(row["seconds"] for row in group)
        served = sum(row["served"] == Verdict.EXACT.value for row in group)
        lines.append(
            f"{model:20}{ratio:>6g} {kind:16}{len(group):>6}{means[key]:>11.2f}"
            f"{100 * min(row['heldout'] for row in group):>7.1f}{'' if behind is None else f'{behind:.2f}':>8}"
            f"{f'{served} of {len(group)}':>10}{seconds:>7.0f}  {held}".rstrip()
        )
    return "\n".join(lines)


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The same for a page: a line for every model and ratio, a column for every kind; in brackets the points that the
    mean is behind ``free``."""
    kinds = [kind for kind in (*KINDS, *NAMED) if any(row["kind"] == kind for row in rows)]
    whole = {row["model"]: 100 * row["heldout"] for row in rows if row["kind"] == WHOLE}
    lines = [f"| model (unreduced) | ratio | {' | '.join(kinds)} |", "|" + " --- |" * (len(kinds) + 2)]
    places = {(row["model"], row["ratio"]): None for row in rows if row["kind"] != WHOLE}
    for model, ratio in sorted(places, key=lambda one: (one[0], -one[1])):
        found = {
            kind: [
                100 * row["heldout"]
                for row in rows
                if (row["model"], row["ratio"], row["kind"]) == (model, ratio, kind)
            ]
            for kind in kinds
        }
        free = statistics.fmean(found[FREE]) if found.get(FREE) else None
        texts = []
        for kind, values in found.items():
            behind = "" if free is None or kind == FREE or not values else f" ({free - statistics.fmean(values):+.1f})"
            texts.append(f"{statistics.fmean(values):.1f}{behind}" if values else "")
        unreduced = f" ({whole[model]:.1f})" if model in whole else ""
        lines.append(f"| {model}{unreduced} | {ratio:g} | {' | '.join(texts)} |")
    return "\n".join(lines)


def main(words: list[str] | None = None) -> int:
    """Run what is missing, print the table; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m eos_platform.serve.servable", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--models", default="bundled-small", help="with commas between")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of searches, with commas between")
    parser.add_argument("--ratios", default=".20,.10,.05", help="compute ratios, with commas between")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--questions", type=int, default=2048, help="held-out")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of every search")
    parser.add_argument(
        "--table", type=Path, nargs="+", metavar="FILE", help="only print these files' rows, for a page"
    )
    add_options(parser, "servable.jsonl")
    given = parser.parse_args(words)
    try:
        if given.table:
            known = [row for path in given.table for row in read(path)]
            if not known:
                raise EosError(f"no rows in {', '.join(map(str, given.table))}")
            terminal.say(markdown(known))
            return 0
        settings = parse_search(given.set)
        check_writable(given.out)
        kinds = given.kinds.split(",")
        for kind in kinds:
            if kind not in KINDS | NAMED:
                raise unknown("kind", kind, (*KINDS, *NAMED))
        wanted = cells(given.models.split(","), kinds, parse_ratios(given.ratios, "--ratios") or (), given.seeds)
        told = {"questions": given.questions, "settings": settings}
        rows = measure_all(wanted, partial(measure, **told, folder=given.out.with_suffix("")), given, told)
    except EosError as error:
        terminal.say(f"servable: {error}", stderr=True)
        return 2
    terminal.say(table(rows))
    return 0


if __name__ == "__main__":
    terminal.run(main)
