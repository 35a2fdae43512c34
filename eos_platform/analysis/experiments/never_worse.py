"""Whether a search ends below the best hand-designed operator on models that its defaults were not tuned on.

    python -m eos_platform.analysis.experiments.never_worse --models bundled-qwen,bundled-gemma --ratios .20,.10,.05 \\
        --seeds 3 --processes 6 --out never_worse.jsonl

Which models were used for what, written down before the first run:

* defaults of the portfolio were chosen on ``bundled``, ``bundled-small``, ``bundled-small-v2``, ``bundled-onevision``;
* they are judged on ``bundled-qwen`` and ``bundled-gemma``;
* ``bundled-smolvlm`` and one further model are asked once, when nothing is changed any more.

Of every model and ratio: ``portfolio`` (a search as it comes) and ``single`` (the same settings, one start, as it was
before there was a portfolio), each with every seed; ``designs``: every design at that compute, chosen and tuned on
validation questions, as many question evaluations as a search takes; and ``unreduced``. All deployed, on held-out
questions. Of designs the best three on validation are asked held-out questions and the best of these is shown, which
favours them. One line of JSON a cell; what stands there is not run again. On a GPU several processes gain from
NVIDIA's MPS (``nvidia-cuda-mps-control -d``): their kernels are small.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eos_platform.analysis.comparison.settings import parse_ratios, parse_search
from eos_platform.analysis.experiments.tables.cells import Cell, add_options, measure_all, row_of
from eos_platform.analysis.experiments.tables.never_worse_report import frame, skills, table
from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError, unknown
from eos_platform.common.files import check_writable, write_atomic
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.config import SearchConfig
from eos_platform.search.portfolio.candidates import TUNED, first_look
from eos_platform.search.portfolio.find import find
from eos_platform.search.portfolio.judge import Judge
from eos_platform.search.start import check
from eos_platform.tasks import evaluate
from eos_platform.tasks.base import Subject

KINDS = ("unreduced", "designs", "portfolio", "single")
ASKED = 1024  # validation questions that designs are chosen and tuned on


def cells(models: Sequence[str], kinds: Sequence[str], ratios: Sequence[float], seeds: int) -> list[Cell]:
    """What there is to measure; what is no search has one seed, and the unreduced model one ratio."""
    found: list[Cell] = []
    for model in models:
        for kind in kinds:
            for ratio in ratios if kind != "unreduced" else (1.0,):
                found += [(model, kind, ratio, seed) for seed in range(seeds if kind in ("portfolio", "single") else 1)]
    return found


def measure(workload: Subject, cell: Cell, questions: int, settings: dict[str, Any]) -> dict[str, Any]:
    """One cell.

    Raises:
        EosError: a setting that cannot be, or a budget that nothing reaches.
    """
    _, kind, ratio, seed = cell
    row = row_of(cell)
    config = SearchConfig.of({**settings, "budget": ratio, "seed": seed, "portfolio": kind == "portfolio"}, "--set")
    begun = time.monotonic()
    if kind == "unreduced":
        return row | _heldout(workload, None, questions)
    if kind == "designs":
        return row | _designs(workload, config, questions) | {"seconds": time.monotonic() - begun}
    workload.encoded("search", config.search_questions)  # in no search's time
    workload.few("validation", config.eval_questions)
    begun = time.monotonic()
    result = find(workload, config)
    row |= {"seconds": time.monotonic() - begun, "compute_ratio": result.compute_ratio, "validation": result.accuracy}
    row |= {"relaxed": result.relaxed_accuracy, "trail": result.trail, "counts": list(result.operator.counts)}
    row |= {"start": result.operator.provenance.get("start", ""), "remarks": list(result.remarks)}
    return row | _heldout(workload, result.operator, questions)


def _heldout(workload: Subject, operator: OperatorSpec | None, questions: int) -> dict[str, Any]:
    asked = evaluate(workload, operator, "heldout", questions)
    return {"heldout": asked.accuracy, "skills": asked.per_skill}


def _designs(workload: Subject, config: SearchConfig, questions: int) -> dict[str, Any]:
    cost = check(workload, config)
    judge = Judge(workload, config.eval_questions, ASKED)
    sets = max(1, config.steps * config.batch_size // ASKED // TUNED)
    published = sorted(
        first_look(workload, config, cost, judge, ASKED, count=0), key=lambda one: one.verdict.rank, reverse=True
    )[:TUNED]
    names = [one.name for one in published]
    tuned = first_look(workload, config, cost, judge, ASKED, names=names, count=sets)
    rows: list[dict[str, Any]] = [
        {"design": one.name, "tuned": changed, "knobs": dict(one.knobs), "validation": one.verdict.accuracy}
        | _heldout(workload, one.operator, questions)
        for changed, group in ((False, published), (True, tuned))
        for one in group
    ]
    return {"designs": rows, "heldout": max(row["heldout"] for row in rows)}


def main(words: list[str] | None = None) -> int:
    """Run what is missing, print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="bundled-small-v2", help="with commas between")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of measurements, with commas between")
    parser.add_argument("--ratios", default=".20,.10,.05", help="compute ratios, with commas between")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--questions", type=int, default=2048, help="held-out")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of every search")
    parser.add_argument("--csv", type=Path, help="where the numbers go as a table")
    add_options(parser, "never_worse.jsonl")
    given = parser.parse_args(words)
    try:
        settings = parse_search(given.set)
        for path in filter(None, (given.out, given.csv)):
            check_writable(path)
        kinds = given.kinds.split(",")
        for kind in kinds:
            if kind not in KINDS:
                raise unknown("kind", kind, KINDS)
        ratios = parse_ratios(given.ratios, "--ratios") or ()
        wanted = cells(given.models.split(","), kinds, ratios, given.seeds)
        asks = partial(measure, questions=given.questions, settings=settings)
        rows = measure_all(wanted, asks, given, {"questions": given.questions})
    except EosError as error:
        terminal.say(f"never_worse: {error}", stderr=True)
        return 2
    if given.csv:
        write_atomic(given.csv, frame(rows).to_csv(index=False))
    terminal.say(skills(rows))
    terminal.say(table(rows))
    return 0


if __name__ == "__main__":
    terminal.run(main)
