"""One table of every full-size model: a searched operator's prefill over its lower bound, and its speed-up.

    python -m eos_platform.bench.every_shape --out shapes.jsonl        # on a GPU; resumes where it stopped
    python -m eos_platform.bench.every_shape --shapes tiny --batch 1 --repeats 2 --out tiny.jsonl  # a try on a CPU

At a third, two ninths, a ninth and a twentieth of the visual tokens, captured and fused (eager on a CPU), with random
weights. One line of JSON a row; a batch of a shape is measured as a whole, and not again if it is there.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from eos_platform.bench.operators import SEARCHED
from eos_platform.bench.run import Plan, Row, bench
from eos_platform.bench.shapes import SHAPES, get_shape, random_model
from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_writable, write_atomic
from eos_platform.models.loading.devices import find_device

SHARES = {"1/3": 1 / 3, "2/9": 2 / 9, "1/9": 1 / 9, "1/20": 1 / 20}
FULL = tuple(name for name in SHAPES if name != "tiny")


def measure(
    shapes: Sequence[str],
    batches: Sequence[int],
    done: set[tuple[str, int]],
    device: torch.device,
    repeats: int = 8,
    until: float = float("inf"),
) -> Iterator[list[Row]]:
    """The rows of a batch of a shape at a time.

    Args:
        done: batches of shapes that are left out.
        until: when no further one begins, by ``time.monotonic``.

    Raises:
        EosError: an unknown shape.
    """
    modes = ("captured", "compiled") if device.type == "cuda" else ("eager",)
    for shape in shapes:
        left = [batch for batch in batches if (shape, batch) not in done]
        if not left or time.monotonic() > until:
            continue
        grid = get_shape(shape).grid
        model = random_model(shape, device)
        for batch in left:
            if time.monotonic() > until:
                break
            tokens = [share * grid[0] * grid[1] for share in SHARES.values()]
            plan = Plan([SEARCHED], tokens, [batch], repeats=repeats, modes=modes, decode=False)
            names = ["", *SHARES]
            yield [
                {"model": shape, "share": name, **row}
                for name, row in zip(names, bench(model, grid, plan), strict=True)
            ]
        del model
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def table(rows: Sequence[Row]) -> str:
    """As Markdown: time over the lower bound (fused where possible), and speedup over the captured unreduced model."""
    lines = ["| model | visual tokens | batch | unreduced ms | " + " | ".join(SHARES) + " |", "|---" * 8 + "|"]
    for model, batch in dict.fromkeys((row["model"], row["batch"]) for row in rows):
        mine = {row["share"]: row for row in rows if (row["model"], row["batch"]) == (model, batch)}
        whole = next(value for name, value in mine[""].items() if name.endswith("_prefill_ms"))
        lines.append(
            f"| {model} | {mine['']['visual']} | {batch} | {whole:.1f} | "
            + " | ".join(_cell(mine[share]) for share in SHARES)
            + " |"
        )
    return "\n".join(lines)


def _cell(row: Row) -> str:
    mode = next(mode for mode in ("compiled", "captured", "eager") if f"{mode}_over_bound" in row)
    return f"{row[f'{mode}_over_bound']:.3f}, {row[f'{mode}_speedup']:.2f} x"


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=list(FULL), help=f"default: {', '.join(FULL)}")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 4])
    parser.add_argument("--repeats", type=int, default=8, help="rounds of unreduced, lower bound and deployed")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="after so many, nothing more is begun")
    parser.add_argument("--device", help="default: the GPU if there is one")
    parser.add_argument("--out", type=Path, required=True, help="one line a row")
    given = parser.parse_args(words)
    begun = time.monotonic()
    try:
        check_writable(given.out)
        rows: list[dict[str, Any]] = (
            [strict_json.loads(line, str(given.out)) for line in given.out.read_text().splitlines()]
            if given.out.exists()
            else []
        )
        done = {(row["model"], row["batch"]) for row in rows}
        device = find_device(given.device)
        for some in measure(given.shapes, given.batch, done, device, given.repeats, begun + given.seconds):
            rows += some
            write_atomic(given.out, "".join(strict_json.dumps(strict_json.plain(one)) + "\n" for one in rows))
            terminal.say(table(some).splitlines()[-1], stderr=True)
        terminal.say(table(rows))
    except EosError as error:
        terminal.say(f"every_shape: {error}", stderr=True)
        return 2
    return 0


if __name__ == "__main__":
    terminal.run(main)
