"""Time of several ways to do the same, taken in turns, so that a machine's moods meet all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from eos_platform.costs.device.capture import WARM_UP, captured

__all__ = ["Way", "captured", "peak_mb", "ratio", "rounds"]


@dataclass(frozen=True)
class Way:
    """One way to do it: what to run, and what must be in place while it runs (never timed)."""

    run: Callable[[], Any]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext


def rounds(ways: Mapping[str, Way], device: torch.device, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each, ``repeats`` times in turns: device time on CUDA, wall time on a CPU."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(-WARM_UP if device.type == "cuda" else -1, repeats):
        for name, way in ways.items():
            with way.around():
                taken = _once(way.run, device)
            if turn >= 0:
                times[name].append(taken)
    return times


def _once(work: Callable[[], Any], device: torch.device) -> float:
    if device.type != "cuda":
        started = time.perf_counter()
        work()
        return 1000 * (time.perf_counter() - started)
    start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    work()
    stop.record()
    stop.synchronize()
    return start.elapsed_time(stop)


def ratio(above: list[float], below: list[float]) -> float:
    """Median of the ratios of what was taken in the same round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def peak_mb(work: Callable[[], Any], device: torch.device) -> float | None:
    """MiB held at most while ``work`` runs, beside what was held before; None on a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20
