"""A transfer matrix on a machine without Ray or Plotly: ``eos transfer`` by processes that share a device.

    python -m eos_platform.analysis.transfer bundled-small-v2 trained/small-10m:scenes-v2 \\
        --budgets .20,.10,.05 --ways zero-shot,carried,adapted,adapted-carried --seeds 3 --processes 14 --out scale

The folder is that of ``eos transfer``: the same command goes on where it stopped, and ``eos transfer ... --report-only
-o scale`` writes the page. Prints a table: accuracy of searches anew, and of what was brought there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eos_platform.analysis.comparison.settings import parse_ratios, parse_search
from eos_platform.analysis.transfer.matrix import table
from eos_platform.analysis.transfer.plan import WAYS, Settings, places_by_name
from eos_platform.analysis.transfer.processes import on_processes
from eos_platform.analysis.transfer.run import run, total_of
from eos_platform.analysis.transfer.store import Cells
from eos_platform.analysis.transfer.timing import time_cells
from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError


def rows_of(cells: Cells, settings: Settings) -> str:
    """The table, as it is read on a terminal and in a page."""
    lines = [
        "| how | from | on | budget | seeds | accuracy | anew | unreduced | kept % | 95 % | share | ms | s |",
        "|" + " --- |" * 13,
    ]
    for row in table(cells.records, places=list(places_by_name(settings))).to_dict("records"):
        kept = f"{100 * row['kept']:.1f} | {100 * row['low']:.1f} to {100 * row['high']:.1f}"
        lines.append(
            f"| {row['kind']} | {row['source']} | {row['place']} | {row['budget']:g} | {row['seeds']} "
            f"| {100 * row['accuracy']:.1f} | {100 * row['anew']:.1f} | {100 * row['unreduced']:.1f} | {kept} "
            f"| {row['share']:.3f} | {row['predicted']:.4g} {row['measured']:.4g} | {row['seconds']:.0f} |"
        )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Measure what is missing; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="+", metavar="PLACE", help="MODEL[:TASK][:OPTION=VALUE]...: see eos transfer")
    parser.add_argument("--budgets", default=".20,.10,.05", help="shares of what the unreduced model costs")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=480, help="of a search anew")
    parser.add_argument("--adapt-steps", type=int, default=40)
    parser.add_argument("--questions", type=int, default=2048, help="held-out, of each cell")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of every search")
    parser.add_argument("--processes", type=int, default=1, help="that share the device")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="after so many, no further cell is begun")
    parser.add_argument("--device", help="default: the GPU if there is one")
    parser.add_argument("--out", type=Path, default=Path("eos-transfer"), help="folder of the matrix")
    given = parser.parse_args(words)
    try:
        settings = Settings.of(
            {
                "places": tuple(given.places),
                "budgets": parse_ratios(given.budgets, "--budgets"),
                "ways": tuple(part for part in given.ways.split(",") if part),
                "seeds": given.seeds,
                "steps": given.steps,
                "adapt_steps": given.adapt_steps,
                "questions": given.questions,
                "search": parse_search(given.set),
            }
        )
        total, done = total_of(settings), 0

        def told(record: dict[str, Any]) -> None:
            nonlocal done
            done += 1
            what = f"{record['accuracy']:.2%}" if record["status"] == "measured" else record["reason"]
            terminal.say(f"{done} of {total} at most: {record['key']}: {what}")

        perform = on_processes(given.processes, given.device, given.threads, given.seconds, at_a_time=2)
        cells = run(settings, given.out, perform, told)
        time_cells(settings, cells, given.device, terminal.say)
    except EosError as error:
        terminal.say(f"transfer: {error}", stderr=True)
        return 2
    terminal.say(rows_of(cells, settings))
    return 0


if __name__ == "__main__":
    terminal.run(main)
