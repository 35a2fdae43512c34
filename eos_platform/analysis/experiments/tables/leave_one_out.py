"""What it costs that the defaults of a search were not tuned on the model it is used on.

    python -m eos_platform.analysis.experiments.tables.leave_one_out --models bundled-qwen,bundled-gemma \\
        --ratio .15 --processes 4 --out leave_one_out.jsonl

Searches from one start with one setting changed (``search_ablations`` has the same names), on every model. Of each
model: the default's accuracy; that of the setting which is best on the *other* models' validation questions (left
out: the model has no part in the choice); and that of the setting best on its own validation questions, which is what
tuning on it would have given. The difference of the last two is the price of not knowing the model. Accuracy is that of
deployed operators on held-out questions, which no choice looks at. One line of JSON a search; what stands there is not
run again.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eos_platform.analysis.comparison.settings import parse_ratios
from eos_platform.analysis.experiments.search_ablations import FIXED
from eos_platform.analysis.experiments.tables.cells import Cell, add_options, measure_all, row_of
from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError, unknown
from eos_platform.common.files import check_writable, write_atomic
from eos_platform.search.config import SearchConfig
from eos_platform.search.portfolio.find import find
from eos_platform.tasks import evaluate
from eos_platform.tasks.base import Subject

DEFAULT = "default"
VARIANTS = (  # written down before the first run
    DEFAULT,
    "rate-.02",
    "rate-.1",
    "rank-4",
    "rank-32",
    "no-alignment",
    "no-distillation",
    "straight-through-.4",
    "cool-start",
    "hot-start",
)


def measure(workload: Subject, cell: Cell, questions: int) -> dict[str, Any]:
    """One search; the cell's kind is the variant.

    Raises:
        EosError: a setting that cannot be, or a budget that nothing reaches.
    """
    _, variant, ratio, seed = cell
    config = SearchConfig.of({**FIXED[variant], "budget": ratio, "seed": seed, "portfolio": False}, variant)
    workload.encoded("search", config.search_questions)  # in no search's time
    begun = time.monotonic()
    result = find(workload, config)
    return row_of(cell) | {
        "seconds": time.monotonic() - begun,
        "compute_ratio": result.compute_ratio,
        "validation": result.accuracy,
        "heldout": evaluate(workload, result.operator, "heldout", questions).accuracy,
    }


def choices(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each model: the setting chosen on the others, the one chosen on itself, and what each gives.

    A setting counts on other models by its mean difference from the default's validation accuracy, there where both
    were measured.

    Args:
        rows: one ratio's; several seeds of a cell are averaged.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for model, variant in dict.fromkeys((row["model"], row["kind"]) for row in rows):
        mine = [row for row in rows if (row["model"], row["kind"]) == (model, variant)]
        means = {name: statistics.fmean(row[name] for row in mine) for name in ("validation", "heldout")}
        found.setdefault(model, {})[variant] = means
    known = {model: by for model, by in found.items() if DEFAULT in by}

    def gain(model: str, variant: str) -> float:
        return known[model][variant]["validation"] - known[model][DEFAULT]["validation"]

    def mean_elsewhere(model: str, variant: str) -> float:
        gains = [gain(other, variant) for other in known if other != model and variant in known[other]]
        return statistics.fmean(gains) if gains else float("-inf")

    table = []
    for model, settings in known.items():
        left_out = max(settings, key=partial(mean_elsewhere, model))
        own = max(settings, key=partial(gain, model))
        table.append(
            {
                "model": model,
                "default": settings[DEFAULT]["heldout"],
                "left_out": left_out,
                "left_out_heldout": settings[left_out]["heldout"],
                "own": own,
                "own_heldout": settings[own]["heldout"],
            }
        )
    return table


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table of ``choices``, for a page."""
    lines = [
        "| model | default | chosen on the others | chosen on this model | price of not knowing it |",
        "|---|---|---|---|---|",
    ]
    for one in choices(rows):
        price = 100 * (one["own_heldout"] - one["left_out_heldout"])
        lines.append(
            f"| {one['model']} | {one['default']:.1%} | {one['left_out']}: {one['left_out_heldout']:.1%} | "
            f"{one['own']}: {one['own_heldout']:.1%} | {price:+.1f} |"
        )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Run what is missing, print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="bundled-small,bundled-small-v2", help="with commas between")
    parser.add_argument("--variants", default=",".join(VARIANTS), help=f"of {', '.join(FIXED)}")
    parser.add_argument("--ratio", default=".15", help="compute ratio")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--questions", type=int, default=2048, help="held-out")
    parser.add_argument("--csv", type=Path, help="where the numbers go as a table")
    add_options(parser, "leave_one_out.jsonl")
    given = parser.parse_args(words)
    try:
        for path in filter(None, (given.out, given.csv)):
            check_writable(path)
        variants = given.variants.split(",")
        for variant in variants:
            if variant not in FIXED:
                raise unknown("variant", variant, FIXED)
        ratios = parse_ratios(given.ratio, "--ratio") or ()
        if len(ratios) != 1:
            raise EosError(f"--ratio: one is needed, not {given.ratio}")
        wanted: list[Cell] = [
            (model, variant, ratios[0], seed)
            for model in given.models.split(",")
            for variant in dict.fromkeys([DEFAULT, *variants])
            for seed in range(given.seeds)
        ]
        rows = measure_all(wanted, partial(measure, questions=given.questions), given, {"questions": given.questions})
        if given.csv:
            import pandas as pd

            write_atomic(given.csv, pd.DataFrame(rows).to_csv(index=False))
    except EosError as error:
        terminal.say(f"leave_one_out: {error}", stderr=True)
        return 2
    terminal.say(markdown(rows))
    return 0


if __name__ == "__main__":
    terminal.run(main)
