"""Whether one operator serves several places as well as one of its own serves each.

    python -m eos_platform.analysis.transfer.generalists --sets bundled-small-v2+bundled-small \\
        --ratios .20,.10,.05 --seeds 3 --processes 6 --out generalists.jsonl

A set is places joined by ``+``, each ``MODEL``, ``MODEL:TASK``, or ``:TASK`` of the first one's model. Of every set and
compute ratio, each with every seed: ``mean`` and ``worst``, one search over all places by either rule; and
``own-1``, ``own-2``, ...: a search on the first place alone, on the second, ... (``plain-1`` ...: the same without
learned directions, as generalists over several models are). All have one start, the same steps, and as many questions
a step. Each operator is deployed in every place of its set, on held-out questions. One line of JSON a cell; what stands
there is not run again.
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
from eos_platform.analysis.experiments.tables.cells import Cell, add_options, measure_all, row_of
from eos_platform.analysis.transfer.places import beside, of_a_search
from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError, unknown
from eos_platform.common.files import check_writable, write_atomic
from eos_platform.costs.flops import compute_ratio
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.config import SearchConfig
from eos_platform.search.generalist.places import name_of
from eos_platform.search.generalist.run import generalist
from eos_platform.search.run import search
from eos_platform.tasks import evaluate
from eos_platform.tasks.base import Subject

WHOLE, RULES, OWN, PLAIN = "unreduced", ("mean", "worst"), "own", "plain"
JOINT = "+"


def parts_of(places: str) -> list[str]:
    """The places of a set, as they are written.

    Raises:
        EosError: fewer than two.
    """
    parts = [part for part in places.split(JOINT) if part]
    if len(parts) < 2:
        raise EosError(f"set '{places}': two places at least, joined by {JOINT}")
    return parts


def kinds_of(places: str, wanted: Sequence[str]) -> list[str]:
    """What is measured of a set: ``own`` and ``plain`` once for each place."""
    found: list[str] = []
    for kind in wanted:
        found += [f"{kind}-{n + 1}" for n in range(len(parts_of(places)))] if kind in (OWN, PLAIN) else [kind]
    return found


def cells(sets: Sequence[str], kinds: Sequence[str], ratios: Sequence[float], seeds: int) -> list[Cell]:
    """What there is to measure, first seeds first; the unreduced models once."""
    found: list[Cell] = [(places, WHOLE, 1.0, 0) for places in sets]
    for seed in range(seeds):
        for places in sets:
            found += [(places, kind, ratio, seed) for ratio in ratios for kind in kinds_of(places, kinds)]
    return found


def load(places: str, device: str | None) -> list[Subject]:
    """Every place of a set; those of one model share its weights."""
    first, *others = parts_of(places)
    return beside(of_a_search(first).load(device), others, device)


def measure(
    places: list[Subject], cell: Cell, questions: int, settings: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """One cell, its operator in ``folder``.

    Raises:
        EosError: a setting that cannot be, a budget that nothing reaches, or places that do not go together.
    """
    _, kind, ratio, seed = cell
    if kind == WHOLE:
        return row_of(cell) | asked(places, None, questions)
    rule, _, number = kind.partition("-")
    plain = {"probe": False, "steering_rank": 0} if rule == PLAIN else {}
    values = {"portfolio": False, **settings, **plain, "budget": ratio, "seed": seed}
    begun = time.monotonic()
    if rule in RULES:
        result = generalist(places, SearchConfig.of({**values, "generalist": rule}, "--set"))
    else:
        result = search(places[int(number) - 1], SearchConfig.of(values, "--set"))
    seconds = time.monotonic() - begun
    folder.mkdir(parents=True, exist_ok=True)
    result.operator.save(folder / f"{cell[0]}-{kind}-{ratio:g}-{seed}.json".replace("/", "_"))
    row = row_of(cell) | {"seconds": seconds, "validation": result.accuracy, "counts": list(result.operator.counts)}
    return row | asked(places, result.operator, questions)


def asked(places: Sequence[Subject], operator: OperatorSpec | None, questions: int) -> dict[str, Any]:
    """Held-out accuracy in each place, and the compute ratio there; the reason where it cannot be at work."""
    found: dict[str, float] = {}
    ratios: dict[str, float] = {}
    refused: dict[str, str] = {}
    for place in places:
        name, spec = name_of(place), operator or OperatorSpec(target=place.target)
        try:
            found[name] = evaluate(place, operator, "heldout", questions).accuracy
            ratios[name] = float(compute_ratio(spec, place.shape, place.text_tokens))
        except EosError as error:  # it reads what is not there in every place
            refused[name] = str(error)
    return {
        "heldout": statistics.fmean(found.values()), "places": found, "compute_ratios": ratios, "refused": refused,
    }  # fmt: skip


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A line a set, ratio and kind, over its seeds: accuracy in each place, their mean, the most points that a place
    loses against its unreduced model, and the highest compute ratio (above the budget where prompts are longer than
    those that an operator was searched on)."""
    lines: list[str] = []
    whole = {row["model"]: row["places"] for row in rows if row["kind"] == WHOLE}
    groups: dict[tuple[str, float, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["ratio"], row["kind"]), []).append(row)
    for places in dict.fromkeys(row["model"] for row in rows):
        named = max((list(row["places"]) for row in rows if row["model"] == places), key=len)
        lines += ["", f"| {places} | ratio | seeds | {' | '.join(named)} | mean | largest loss | ratio, at most | s |"]
        lines += [f"|{' --- |' * (len(named) + 7)}"]
        for (_, ratio, kind), some in sorted(
            ((key, some) for key, some in groups.items() if key[0] == places), key=lambda one: (-one[0][1], one[0][2])
        ):
            here = [name for name in named if all(name in row["places"] for row in some)]
            means = {name: 100 * statistics.fmean(row["places"][name] for row in some) for name in here}
            lost = [100 * whole[places][name] - means[name] for name in here] if places in whole else []
            seconds = statistics.fmean(row.get("seconds", 0.0) for row in some)
            each = " | ".join(f"{means[name]:.1f}" if name in means else "refused" for name in named)
            both = f"{statistics.fmean(means.values()):.1f} | {max(lost):.1f}" if lost and here == named else "|"
            most = max((value for row in some for value in row["compute_ratios"].values()), default=1.0)
            lines.append(f"| {kind} | {ratio:g} | {len(some)} | {each} | {both} | {most:.3f} | {seconds:.0f} |")
    return "\n".join(lines)


def main(words: list[str] | None = None) -> int:
    """Run what is missing, print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="bundled-small-v2+bundled-small", help="of places, with commas between")
    parser.add_argument("--kinds", default="mean,worst,own", help="mean, worst, own, plain, with commas between")
    parser.add_argument("--ratios", default=".20,.10,.05", help="compute ratios, with commas between")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--questions", type=int, default=2048, help="held-out, in each place")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of every search")
    parser.add_argument("--table", type=Path, help="where the table goes too")
    add_options(parser, "generalists.jsonl")
    given = parser.parse_args(words)
    try:
        settings = parse_search(given.set)
        check_writable(given.out)
        kinds = given.kinds.split(",")
        for kind in kinds:
            if kind not in (*RULES, OWN, PLAIN):
                raise unknown("kind", kind, (*RULES, OWN, PLAIN))
        wanted = cells(given.sets.split(","), kinds, parse_ratios(given.ratios, "--ratios") or (), given.seeds)
        told = {"questions": given.questions, "settings": settings}
        asks = partial(measure, **told, folder=given.out.with_suffix(""))
        rows = measure_all(wanted, asks, given, told, load)
    except EosError as error:
        terminal.say(f"generalists: {error}", stderr=True)
        return 2
    if given.table:
        write_atomic(given.table, table(rows).lstrip() + "\n")
    terminal.say(table(rows))
    return 0


if __name__ == "__main__":
    terminal.run(main)
