"""python -m tests.fuzz --inputs 1500 --seed 0

Prints what every input that is not clear did, and a table at the end. Exit code 1 when something is not clear.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from . import originals, runner, stand_ins
from .kinds import KINDS

SLOW = ("checkpoint", "feature cache")
BAD = ("unclear", "traceback", "hang", "accepted wrongly")


def outcomes(
    inputs: int, seed: int, home: Path, valid: Path, only: str = "", number: int | None = None, short: bool = False
) -> Iterator[runner.Outcome]:
    """Run so many inputs; the same for the same seed."""
    kinds = [
        name
        for name, (weight, _) in KINDS.items()
        for _ in range(weight)
        if only in name and not (short and name in SLOW)
    ]
    for place in range(inputs):
        rng = random.Random(f"{seed} {place}")
        kind = kinds[rng.randrange(len(kinds))]
        if number is not None and place != number:
            continue
        folder = home / "cases" / str(place)
        folder.mkdir(parents=True)
        case = KINDS[kind][1](rng, valid, folder)
        yield runner.run(case, folder, stand_ins.put_in)
        runner.clear(folder)


def table(found: list[runner.Outcome]) -> str:
    """Verdicts by kind."""
    kinds = list(dict.fromkeys(outcome.case.kind for outcome in found))
    lines = [f"{'':18}{'inputs':>8}" + "".join(f"{name:>18}" for name in runner.VERDICTS) + f"{'left files':>12}"]
    for kind in [*sorted(kinds), ""]:
        mine = [outcome for outcome in found if kind in ("", outcome.case.kind)]
        counts = Counter(outcome.verdict for outcome in mine)
        left = sum(bool(outcome.left) and outcome.code == 2 for outcome in mine)
        cells = "".join(f"{counts[name]:>18}" for name in runner.VERDICTS)
        lines.append(f"{kind or 'all':18}{len(mine):>8}{cells}{left:>12}")
    return "\n".join(lines)


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds with this in their name")
    parser.add_argument("--number", type=int, help="this input alone")
    parser.add_argument("--originals", type=Path, help="a folder to keep the valid files in, for the next time")
    parser.add_argument("--short", action="store_true", help="without checkpoints, which only a search can make")
    parser.add_argument("--all", action="store_true", help="print clear ones too")
    given = parser.parse_args()
    started, found = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="eos-fuzz-") as home:
        _quiet()
        stand_ins.import_all()
        valid = (given.originals or Path(home) / "originals").absolute()
        if not valid.exists():
            runner.apart(lambda: originals.make(valid, search=not given.short))
        os.environ["EOS_CACHE"] = str(valid / "cache")
        print(f"originals made in {time.monotonic() - started:.0f} s", file=sys.stderr)
        for place, outcome in enumerate(
            outcomes(given.inputs, given.seed, Path(home), valid, given.only, given.number, given.short)
        ):
            found.append(outcome)
            if given.all or outcome.verdict in BAD or (outcome.left and outcome.code == 2):
                said = " / ".join(outcome.said.splitlines()[-4:])[-700:] if outcome.said else ""
                text = f"{outcome.verdict}: [{outcome.case.kind}] {outcome.case.what}: "
                print(
                    f"#{place} {text}{' '.join(outcome.case.command)[:160]!r} -> {outcome.code} {said!r}"
                    + (f" LEFT {outcome.left[:3]}" if outcome.left and outcome.code == 2 else ""),
                    flush=True,
                )
    print(table(found))
    print(f"{len(found)} inputs, seed {given.seed}, {time.monotonic() - started:.0f} s")
    return int(any(outcome.verdict in BAD for outcome in found))


def _quiet() -> None:
    import torch

    torch.set_num_threads(1)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ[name] = "1"


if __name__ == "__main__":
    sys.exit(main())
