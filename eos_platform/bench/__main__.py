"""The measuring half of ``eos bench`` alone: it needs torch and transformers only.

python -m eos_platform.bench --shape llava-1.5-7b --operators searched-like fastv --tokens 192 128 64 29 --batch 1 16
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from eos_platform import strict_json, terminal
from eos_platform.bench.operators import SEARCHED
from eos_platform.bench.report import table
from eos_platform.bench.run import MODES, Plan, bench
from eos_platform.bench.shapes import SHAPES, get_shape, random_model
from eos_platform.errors import EosError
from eos_platform.files import check_writable, write_atomic


def main(words: list[str] | None = None) -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="llava-1.5-7b", help=", ".join(SHAPES))
    parser.add_argument("--operators", nargs="+", default=[SEARCHED], help="operator files, designs, searched-like")
    parser.add_argument("--tokens", type=float, nargs="+", default=[192, 128, 64, 29], help="mean visual tokens")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--text", type=int, default=60, help="tokens that are not visual")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument(
        "--modes", nargs="+", choices=MODES, default=["eager", "captured"], help="compiled: captured, with sites fused"
    )
    parser.add_argument("--no-decode", action="store_true", help="prefill only")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="write the rows here, one JSON line each")
    given = parser.parse_args(words)
    try:
        if given.out:
            check_writable(given.out)
        grid = get_shape(given.shape).grid
        model = random_model(given.shape, torch.device(given.device))
        plan = Plan(
            operators=given.operators,
            tokens=given.tokens,
            batches=given.batch,
            text=given.text,
            repeats=given.repeats,
            modes=tuple(given.modes),
            decode=not given.no_decode,
        )
        rows = []
        for row in bench(model, grid, plan):
            rows.append({"model": given.shape, **row})
            terminal.say(table(rows[-1:]).splitlines()[1], stderr=True)
            if given.out:
                write_atomic(given.out, "".join(strict_json.dumps(strict_json.plain(one)) + "\n" for one in rows))
        terminal.say(table(rows))
    except EosError as error:
        terminal.say(f"bench: {error}", stderr=True)
        return 2
    return 0


if __name__ == "__main__":
    terminal.run(main)
