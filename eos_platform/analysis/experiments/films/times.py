"""Films at true size: how long the prefill takes with each operator on films, beside unreduced and the lower bound.

    python -m eos_platform.analysis.experiments.films.times                                # a GPU, under a minute
    python -m eos_platform.analysis.experiments.films.times --shape tiny --films 4x4x4 --seconds 20       # a try, CPU

The real class at a model's size, with random weights; random embeddings in place of the film's tokens, as what they
hold makes no difference to the time of a layer. The lower bound is the same model on an input with only as many tokens
at each layer. Not in it: the vision tower, and what FastVID and HoliTom read there (attention received; here random
numbers). One line of JSON a row, as measured; when the seconds are over, rows that are missing are left out, and said.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from eos_platform.bench.operators import SEARCHED, searched_like
from eos_platform.bench.shapes import random_model
from eos_platform.bench.timing import captured
from eos_platform.bench.work import Bench
from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_writable, write_atomic
from eos_platform.operators.designs import get_design
from eos_platform.operators.spec import OperatorSpec, Target

Row = dict[str, Any]
NAMES = (SEARCHED, "evs", "vidcom2", "fastvid", "prunevid", "holitom", "framefusion", "dycoke")
FILMS = "32x14x14,128x8x8"
WARM, REPEATS = 1, 3
ACROSS = {"change": 0.2, "film_uniqueness": 0.1}  # what searches weigh besides at sites of films


def operator_of(name: str, target: Target, share: float, width: int) -> OperatorSpec:
    """A design, or what stands in for a searched operator, at a mean of so many of a film's tokens a layer.

    Raises:
        EosError: it cannot be had at that share.
    """
    tokens = share * target.tokens
    if name != SEARCHED:
        design = get_design(name)
        renumbers = any(knob.name == "positions" for knob in design.knobs(target))
        return design.build(target, tokens, **({"positions": "keep"} if renumbers else {}))
    flat = searched_like(target, tokens, width)
    sites = tuple(
        site.model_copy(update={"scope": "film", "score": {**site.score, **ACROSS}, "positions": "keep"})
        for site in flat.sites
    )
    return OperatorSpec(name=SEARCHED, target=target, sites=sites)


def measure(
    setup: Bench, shares: Sequence[float], names: Sequence[str], modes: Sequence[str], seconds: float = 1e9
) -> Iterator[Row]:
    """Rows as they are measured, the unreduced model's first.

    Args:
        setup: of a film.
        seconds: after which no more is measured.
    """
    end, film = time.monotonic() + seconds, "x".join(map(str, setup.target.axes))
    whole = {mode: _milliseconds(mode, nullcontext, setup.prefill, setup.device) for mode in modes}
    yield {"film": film, "operator": "unreduced", "tokens": setup.target.tokens} | _named(whole, "ms")
    bounds: dict[tuple[str, tuple[int, ...]], float] = {}
    for share in shares:
        for name in names:
            row: Row = {"film": film, "operator": name, "share": share}
            if time.monotonic() > end:
                yield row | {"refused": "not measured: the time was over"}
                continue
            try:
                operator = operator_of(name, setup.target, share, setup.x_bsd.shape[-1])
            except EosError as error:
                yield row | {"refused": str(error)}
                continue
            row["tokens"] = operator.mean_tokens
            for mode in modes:
                try:
                    row |= _beside_bound(setup, operator, mode, bounds)
                except RuntimeError as error:  # not recorded, or no memory
                    row[f"{mode}_failed"] = str(error).splitlines()[0][:200]
                    torch.cuda.empty_cache()
                    continue
                row[f"{mode}_speedup"] = whole[mode] / row[f"{mode}_ms"]
            yield row


def _beside_bound(
    setup: Bench, operator: OperatorSpec, mode: str, bounds: dict[tuple[str, tuple[int, ...]], float]
) -> Row:
    key = mode, operator.counts
    if key not in bounds:
        short = setup.shortened(operator.counts)
        bounds[key] = _milliseconds(mode, lambda: setup.lower_bound(operator.counts), short.prefill, setup.device)
    taken = _milliseconds(mode, lambda: setup.reduced(operator), setup.prefill, setup.device)
    return {f"{mode}_ms": taken, f"{mode}_bound_ms": bounds[key], f"{mode}_over_bound": taken / bounds[key]}


def _milliseconds(
    mode: str, around: Callable[[], AbstractContextManager[Any]], run: Callable[[], Any], device: torch.device
) -> float:
    """The median."""
    with around():
        if mode == "captured":
            run = captured(run)
        times = []
        for turn in range(-WARM, REPEATS):
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            started = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn >= 0:
                times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def _named(values: dict[str, float], unit: str) -> Row:
    return {f"{mode}_{unit}": value for mode, value in values.items()}


def table(rows: Sequence[Row]) -> str:
    """As Markdown: milliseconds, the lower bound's, and how often faster than unreduced, by mode."""
    modes = [mode for mode in ("eager", "captured") if any(f"{mode}_ms" in row for row in rows)]
    head = ["film", "operator", "share", *(f"{mode}: ms (bound), speed-up" for mode in modes)]
    lines = ["| " + " | ".join(head) + " |", "|---|---|---:|" + "---:|" * len(modes)]
    for row in rows:
        cells = [row["film"], row["operator"], f"{row['share']:.0%}" if "share" in row else ""]
        for mode in modes:
            if "refused" in row:
                cells.append(row["refused"].rpartition(": ")[2])
            elif f"{mode}_ms" not in row:
                cells.append("failed")
            elif "share" not in row:
                cells.append(f"{row[f'{mode}_ms']:.1f}")
            else:
                of = f"{row[f'{mode}_ms']:.1f} ({row[f'{mode}_bound_ms']:.1f})"
                cells.append(f"{of}, {row[f'{mode}_speedup']:.2f}x")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def film_of(words: str) -> tuple[int, int, int]:
    """Frames, rows and columns.

    Raises:
        EosError: not three whole numbers above 0 with x between.
    """
    parts = words.split("x")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) for part in parts) or int(parts[0]) < 2:
        raise EosError(f"--films: '{words}' is not frames x rows x columns, as in 32x14x14 (at least two frames)")
    frames, rows, columns = map(int, parts)
    return frames, rows, columns


def setup_of(model: Any, film: tuple[int, int, int], text: int) -> Bench:
    """Prompts of one film."""
    frames, rows, columns = film
    setup = Bench.of(model, (frames * rows, columns), 1, text).as_film(frames)
    received_bn = torch.rand(setup.layout.visual_bn.shape, device=setup.device)
    return replace(setup, layout=replace(setup.layout, features={"received": received_bn}))


def main(words: list[str] | None = None) -> int:
    """Measure, print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="qwen2.5-vl-7b", help="of the model: eos bench --help lists them")
    parser.add_argument("--films", default=FILMS, help="frames x rows x columns of tokens, with commas between")
    parser.add_argument("--shares", default=".25,.10", help="of a film's tokens, with commas between")
    parser.add_argument("--operators", default=",".join(NAMES), help="designs of films, and searched-like")
    parser.add_argument("--text", type=int, default=60, help="tokens that are not visual")
    parser.add_argument("--seconds", type=float, default=50.0, help="for all films together, after the model is built")
    parser.add_argument("--out", type=Path, default=Path("film-times.jsonl"))
    given = parser.parse_args(words)
    rows: list[Row] = []
    try:
        check_writable(given.out)
        films = [film_of(one) for one in given.films.split(",")]
        for name in (names := given.operators.split(",")):
            if name != SEARCHED:
                get_design(name)
        shares = [float(share) for share in given.shares.split(",")]
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = random_model(given.shape, device)
        modes = ("eager", "captured") if device.type == "cuda" else ("eager",)
        with torch.inference_mode():
            for film in films:
                setup = setup_of(model, film, given.text)
                for row in measure(setup, shares, names, modes, given.seconds / len(films)):
                    rows.append(row | {"shape": given.shape})
                    terminal.say(strict_json.dumps(rows[-1]), stderr=True)
                    write_atomic(given.out, "".join(strict_json.dumps(one) + "\n" for one in rows))
    except ValueError as error:
        terminal.say(f"films: --shares: {error}", stderr=True)
        return 2
    except EosError as error:
        terminal.say(f"films: {error}", stderr=True)
        return 2
    terminal.say(table(rows))
    return 0


if __name__ == "__main__":
    terminal.run(main)
