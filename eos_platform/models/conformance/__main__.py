"""Print the conformance matrix; ``--help`` says how. It leaves with 1 if anything failed.

Whole, it takes a quarter of an hour on a busy machine of two cores, more than half of that in ``torch.compile``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import torch
from rich.table import Table

from eos_platform.common import console as terminal
from eos_platform.common.errors import unknown
from eos_platform.models.conformance.checks import CHECKS
from eos_platform.models.conformance.subjects import samples

WIDE = 1000  # columns that no table needs


def main(arguments: Sequence[str]) -> int:
    """Run every check on every family (or those named), and print how many cases each tried."""
    parser = argparse.ArgumentParser(prog="python -m eos_platform.models.conformance")
    known = samples()
    parser.add_argument("family", nargs="*", help=f"default: all of {', '.join(known)}")
    parser.add_argument("--without", action="append", default=[], choices=list(CHECKS), help="leave a check out")
    options = parser.parse_args(arguments)
    if strange := [name for name in options.family if name not in known]:
        parser.error(str(unknown("family", strange[0], known)))
    console = terminal.console()
    chosen = {name: known[name] for name in options.family or known}
    checks = {name: one for name, one in CHECKS.items() if name not in options.without}
    table = Table("check", *chosen, title="conformance: cases tried (x: failed)")
    failures: list[str] = []
    total, began = 0, time.perf_counter()
    for name, check in checks.items():
        cells = []
        for family, sample in chosen.items():
            try:
                tried = check(sample)
            except Exception as error:  # a matrix with the failure in its place says more than a traceback
                failures.append(f"{family}: {name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
                cells.append("x")
            else:
                total += tried
                cells.append(str(tried))
        table.add_row(name, *cells)
    if not console.is_terminal:  # a file or a pipe has no edge to wrap at
        console.width = max(console.width, console.measure(table, options=console.options.update(width=WIDE)).maximum)
    console.print(table)
    for failure in failures:
        console.print(failure, markup=False)
    seconds = time.perf_counter() - began
    console.print(f"{total} cases passed, {len(failures)} checks failed, in {seconds:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    terminal.run(lambda: main(sys.argv[1:]))
