"""A table against fresh runs of its operators, and its predicted times against those that were measured."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eos_platform.benchmark.bench import OperatorBench
from eos_platform.benchmark.make.asked import Asked
from eos_platform.benchmark.make.shards import Shard, read
from eos_platform.benchmark.space import FAMILIES, Config
from eos_platform.costs.device.predictor import rank_correlation

CHECKED = "checked"


def check(
    folder: Path,
    count: int,
    questions: int,
    device: str,
    path: str | None,
    say: Callable[[str], None],
    seed: int = 0,
) -> list[str]:
    """Ask some operators again; what is there is not asked again.

    Args:
        folder: where the answers are kept.
        count: operators, of all models and families alike.
        questions: the first so many.
        device: that they are asked on.
        path: of the table; default: the package's.
        say: is told how far it is.

    Returns:
        What was found, in lines.
    """
    done = {(line["model"], line["number"], line["questions"], line["seed"]) for line in read(folder, CHECKED)}
    shard, asked = Shard(folder, CHECKED, device), dict[str, Asked]()
    for number, (model, config, steps) in enumerate(_chosen(count, path, seed)):
        if (model, number, questions, seed) in done:
            continue
        bench = OperatorBench(model, FAMILIES, path)
        if model not in asked:
            asked[model] = Asked(model, device, questions)
        fresh = asked[model].answers(bench.operator(config, steps), 0)
        stored = bench.right(config, steps)[:questions]
        line = {"model": model, "number": number, "questions": questions, "seed": seed, "family": config["family"]}
        differ = int((fresh != stored).sum())
        shard.add([line | {"differ": differ, "fresh": float(fresh.mean()), "stored": float(stored.mean())}])
        if number % 20 == 19:
            say(f"{number + 1} of {count} operators asked again")
    lines = [line for line in read(folder, CHECKED) if (line["questions"], line["seed"]) == (questions, seed)]
    return [_agreement(name, mine, questions) for name, mine in _parts(lines)]


def _chosen(count: int, path: str | None, seed: int) -> Iterator[tuple[str, Config, int | None]]:
    """Points drawn evenly from models and families; of searches, at some step."""
    rng, models = random.Random(seed), OperatorBench.models(path)
    for number in range(count):
        model = models[number % len(models)]
        bench = OperatorBench(model, FAMILIES, path)
        config = bench.sample(rng)
        steps = rng.choice(bench.steps)
        yield model, config, steps if config["family"] == "searched" else None


def _parts(lines: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for name in FAMILIES:
        mine = [line for line in lines if line["family"] == name]
        if mine:
            yield name, mine
    yield "all", lines


def _agreement(name: str, lines: list[dict[str, Any]], questions: int) -> str:
    off = np.abs([line["fresh"] - line["stored"] for line in lines])
    same = sum(not line["differ"] for line in lines)
    answers, differ = len(lines) * questions, sum(line["differ"] for line in lines)
    rank = rank_correlation([line["stored"] for line in lines], [line["fresh"] for line in lines])
    return (
        f"{name:9} {len(lines):>4} operators, {same} answer all {questions} questions alike; {differ} of {answers}"
        f" answers differ; accuracy off by {off.mean():.5f} on average, {off.max():.5f} at most; rank correlation"
        f" {rank or 0:.5f}"
    )


def times(path: str | None = None) -> list[str]:
    """Predicted against measured milliseconds, by device and family."""
    lines = []
    for model in OperatorBench.models(path):
        for device in ("h200", "cpu"):
            for families in (("composed", "design"), ("composed",), ("design",)):
                bench = OperatorBench(model, families, path)
                pairs_rk = bench.values((f"measured_ms_{device}", f"predicted_ms_{device}"))
                lines += _held(f"{model}, {device}, {' and '.join(families)}", pairs_rk[~np.isnan(pairs_rk).any(1)])
    return lines


def _held(name: str, pairs_rk: NDArray[np.float64]) -> list[str]:
    if len(pairs_rk) < 3:
        return []
    off = np.abs(pairs_rk[:, 1] / pairs_rk[:, 0] - 1)
    rank = rank_correlation(pairs_rk[:, 1].tolist(), pairs_rk[:, 0].tolist())
    return [
        f"{name}: {len(pairs_rk)} operators; predicted times are off by {np.median(off):.1%} in the median, "
        f"90 % by less than {np.quantile(off, 0.9):.1%}; rank correlation {rank or 0:.3f}"
    ]
