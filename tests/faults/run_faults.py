"""Random kills on the real thing, as a table: ``python tests/faults/run_faults.py driver:20 worker:20``.

Kinds: driver, worker, raylet, mlflow, postgres, disk, nan, kernel-memory, memory, real; the number is how often.
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from harness import table
from kinds import KINDS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="+", metavar="KIND[:COUNT]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the studies are kept; default: a temporary folder")
    given = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="eos-faults-") as scratch:
        for number, word in enumerate(given.kinds):
            kind, _, count = word.partition(":")
            folder = (given.folder or Path(scratch)) / f"{number}-{kind}"
            outcomes.append(KINDS[kind](folder, int(count or 1), random.Random(given.seed + number)))
            print(table(outcomes[-1:]), flush=True)
    print(f"\n{table(outcomes)}")
    return 0 if all(outcome.sound for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
