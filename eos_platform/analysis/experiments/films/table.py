"""Films: searched operators and every design that suits them, at equal compute.

    python -m eos_platform.analysis.experiments.films.table --model bundled-film --processes 4 --out films.jsonl
    python -m eos_platform.analysis.experiments.films.table --kinds "evs;random" --seeds 1 --questions 60   # a try

Budgets are shares of the film's tokens: what pruning to so many of them before the language model costs, anywhere in
the film, is what every row may cost at most, its own rules included. Kinds of rows: ``unreduced``; ``searched`` (sites
of whole films) and ``searched by frame``, each with every seed; designs by name, as they are (those for pictures reduce
frame by frame, to the same share of each); and designs for pictures ``, whole film``: the same rules over all frames at
once. All deployed, on held-out questions. What a design cannot do is its row. One line of JSON a cell; what is there is
not run again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from eos_platform.analysis.comparison.settings import parse_ratios, parse_search
from eos_platform.analysis.experiments.designs_table import fitted
from eos_platform.analysis.experiments.tables.cells import Cell, add_options, loaded, measure_all, row_of
from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_writable, write_atomic
from eos_platform.costs.flops import compute_ratio
from eos_platform.costs.match import match
from eos_platform.models.adapters.target import check_fits, parts_of
from eos_platform.operators.designs import get_design
from eos_platform.operators.designs.base import Design
from eos_platform.operators.designs.films.over import over_film
from eos_platform.operators.spec import OperatorSpec, SiteSpec
from eos_platform.search.config import SearchConfig
from eos_platform.search.portfolio.find import JUDGED, find
from eos_platform.tasks import evaluate
from eos_platform.tasks.base import Subject
from eos_platform.tasks.examples.subject import TYPICAL, Examples
from eos_platform.tasks.scenes import Split

SEARCHES = {"searched": "film", "searched by frame": "frame"}
WHOLE = ", whole film"
ACROSS = ("whole-frames", "evs", "vidcom2", "dycoke", "framefusion", "fastvid", "prunevid", "holitom")
PICTURES = (
    *("random", "stride", "pool", "tome", "fastv", "divprune", "cen-divprune", "cdpruner", "dart", "sparsevlm"),
    *("pyramiddrop", "scope", "mmtok", "v2drop", "zoo-prune", "visionzip"),
)
KINDS = (
    "searched",
    "unreduced",
    *ACROSS,
    *PICTURES,
    *(f"{name}{WHOLE}" for name in PICTURES),
    "searched by frame",
)


def cells(model: str, kinds: Sequence[str], shares: Sequence[float], seeds: int) -> list[Cell]:
    """What there is to measure, searches first, as they take longest."""
    found: list[Cell] = []
    for kind in kinds:
        for share in shares if kind != "unreduced" else (1.0,):
            found += [(model, kind, share, seed) for seed in range(seeds if kind in SEARCHES else 1)]
    return found


def budget_of(subject: Subject, share: float) -> float:
    """What keeping a share of the film's tokens, wherever they are, costs."""
    keep = max(1, round(share * subject.target.tokens))
    site = SiteSpec(layer=0, scope="film", keep=keep, selector="random")
    return compute_ratio(OperatorSpec(target=subject.target, sites=(site,)), subject.shape, subject.text_tokens)


def design_of(kind: str) -> Design:
    """The design that a kind of row is.

    Raises:
        EosError: there is none of that name.
    """
    name = kind.removesuffix(WHOLE)
    return over_film(get_design(name)) if name != kind else get_design(name)


def measure(subject: Subject, cell: Cell, questions: int, settings: dict[str, Any]) -> dict[str, Any]:
    """One cell; a design that cannot be had at that compute says why."""
    _, kind, share, seed = cell
    row, budget = row_of(cell), budget_of(subject, share)
    if kind == "unreduced":
        return row | _asked(subject, None, questions)
    if kind in SEARCHES:
        scope = SEARCHES[kind]
        config = SearchConfig.of({"scope": scope, **settings, "budget": budget, "seed": seed}, "--set")
        subject.encoded("search", config.search_questions)  # in no search's time
        begun = time.monotonic()
        result = find(subject, config)
        row |= {"seconds": time.monotonic() - begun, "validation": result.accuracy}
        row |= {
            "start": result.operator.provenance.get("start", ""),
            "operator": result.operator.model_dump(mode="json"),
        }
        return row | _asked(subject, result.operator, questions)
    try:
        operator = match(design_of(kind), budget, subject.target, subject.shape, subject.text_tokens)
        operator, changes = fitted(subject, operator)
        check_fits(parts_of(subject.model), operator)
    except EosError as error:
        return row | {"refused": str(error), "heldout": 0.0}
    return row | {"changes": list(changes)} | _asked(subject, operator, questions)


def prepare(subject: Subject, part: int, parts: int, asked: Mapping[Split, int]) -> None:
    """Have a part of the questions on disk, encoded; the other parts are other processes'."""
    assert isinstance(subject, Examples)
    for split, questions in asked.items():
        subject.warm(split, questions, part, parts)


def _asked(subject: Subject, operator: OperatorSpec | None, questions: int) -> dict[str, Any]:
    found = evaluate(subject, operator, "heldout", questions)
    spec = operator or OperatorSpec(target=subject.target)
    ratio = compute_ratio(spec, subject.shape, subject.text_tokens)
    return {
        "heldout": found.accuracy,
        "skills": found.per_skill,
        "compute_ratio": float(ratio),
        "left": spec.tokens_left,
    }


def frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A row a cell: kind, share, seed, accuracy (missing where refused), compute ratio and accuracy by group."""
    kept = [
        {
            **{name: row.get(name) for name in ("kind", "ratio", "seed", "compute_ratio", "left", "seconds", "start")},
            "accuracy": None if "refused" in row else row["heldout"],
            "refused": row.get("refused", ""),
            **row.get("skills", {}),
        }
        for row in rows
    ]
    return pd.DataFrame(kept).rename(columns={"ratio": "share"})


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Accuracy in percent by kind and share, means over seeds, the best first at the largest share; as Markdown."""
    found = frame(rows)
    whole = found[found["kind"] == "unreduced"]
    rest = found[found["kind"] != "unreduced"]
    shares = sorted(rest["share"].unique(), reverse=True)
    lines = ["| kind | " + " | ".join(f"{share:.0%}" for share in shares) + " |", "|---|" + "---:|" * len(shares)]
    for _, row in whole.iterrows():
        lines.append(f"| unreduced | {100 * row['accuracy']:.1f}" + " | " * len(shares) + "|")
    ranked = rest.groupby("kind")["accuracy"].mean().sort_values(ascending=False, na_position="last")
    for kind in ranked.index:
        shown = []
        for share in shares:
            mine = rest[(rest["kind"] == kind) & (rest["share"] == share)]["accuracy"].dropna()
            spread = f" ± {100 * (mine.max() - mine.min()) / 2:.1f}" if len(mine) > 1 else ""
            shown.append(f"{100 * mine.mean():.1f}{spread}" if len(mine) else "–")
        lines.append(f"| {kind} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main(words: list[str] | None = None) -> int:
    """Run what is missing, print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled-film", help="a bundled one, or a folder")
    parser.add_argument("--task", default="films", help="of films")
    parser.add_argument("--kinds", help="of rows, with ; between; default: all")
    parser.add_argument("--shares", default=".25,.15,.10,.05", help="of the film's tokens, with commas between")
    parser.add_argument("--seeds", type=int, default=3, help="of searches")
    parser.add_argument("--questions", type=int, default=1536, help="held-out")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of every search")
    parser.add_argument("--csv", type=Path, help="where the numbers go as a table")
    add_options(parser, "films.jsonl")
    given = parser.parse_args(words)
    try:
        settings = parse_search(given.set)
        for path in filter(None, (given.out, given.csv)):
            check_writable(path)
        kinds = KINDS if given.kinds is None else tuple(filter(None, given.kinds.split(";")))
        for kind in kinds:
            if kind not in (*SEARCHES, "unreduced"):
                design_of(kind)
        wanted = cells(given.model, kinds, parse_ratios(given.shares, "--shares") or (), given.seeds)
        asks = partial(measure, questions=given.questions, settings=settings)
        told, load = {"questions": given.questions}, partial(loaded, task=given.task)
        config = SearchConfig.of({**settings, "budget": 0.5}, "--set")
        needed: dict[Split, int] = {"heldout": given.questions, "search": TYPICAL}
        if any(cell[1] in SEARCHES for cell in wanted):
            needed = needed | {"search": config.search_questions, "validation": config.eval_questions + JUDGED}
        rows = measure_all(wanted, asks, given, told, load, partial(prepare, asked=needed))
    except EosError as error:
        terminal.say(f"films: {error}", stderr=True)
        return 2
    if given.csv:
        write_atomic(given.csv, frame(rows).to_csv(index=False))
    terminal.say(table(rows))
    return 0


if __name__ == "__main__":
    terminal.run(main)
