"""How long the language model's prefill takes with an operator attached, and how much memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch

from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.runtime.attach import reducing
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import Asked, Batch

WARM_UP, REPEATS = 3, 20
PATIENCE = 3.0  # seconds; a slow CPU is asked less often


def median_ms(work: Callable[[], Any], device: torch.device, repeats: int = REPEATS) -> float:
    """Median milliseconds of ``work``: device time on CUDA, wall time on a CPU."""
    if device.type != "cuda":
        return _median_on_cpu(work, repeats)
    for _ in range(WARM_UP):
        work()
    pairs = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
    for start, stop in pairs:
        start.record()
        work()
        stop.record()
    torch.cuda.synchronize(device)
    return statistics.median(start.elapsed_time(stop) for start, stop in pairs)


def _median_on_cpu(work: Callable[[], Any], repeats: int) -> float:
    work()
    found: list[float] = []
    begun = time.perf_counter()
    while len(found) < repeats and (len(found) < 3 or time.perf_counter() - begun < PATIENCE):
        started = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - started))
    return statistics.median(found)


@torch.no_grad()
def prefill_cost(workload: Subject, operator: OperatorSpec | None, encoded: Asked, batch: int) -> dict[str, float]:
    """``prefill_ms`` and, on CUDA, ``memory_mb``: the most held beside weights and inputs.

    One prefill of ``batch`` equal prompts of typical length, without answers or padding, keeping its cache, with the
    logits of the last position; the operator's own work is in it, the vision tower's is not.

    Args:
        encoded: questions as the operator's vision tower sees them.
    """
    model, asked = workload.model, typical(encoded, batch)
    adapter = adapter_of(model)

    def work() -> None:
        adapter.start(asked.prefill)

    with reducing(model, operator, asked.layout) if operator else nullcontext():
        found = {"prefill_ms": median_ms(work, model.device)}
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)
            torch.cuda.reset_peak_memory_stats(model.device)
            before = torch.cuda.memory_allocated(model.device)
            work()
            torch.cuda.synchronize(model.device)
            found["memory_mb"] = (torch.cuda.max_memory_allocated(model.device) - before) / 2**20
    return found


def typical(encoded: Asked, batch: int) -> Batch:
    """A question of median length, ``batch`` times, its answer cut off."""
    found = encoded.batch(torch.full((batch,), encoded.middle(), device=encoded.model.device))
    prefill = found.prefill.until(int(found.layout.last_b[0]) + 1)
    # no mask where that of a prompt without padding is the plain one
    plain = not adapter_of(encoded.model).family.own_masks
    return replace(found, prefill=replace(prefill, mask=None) if plain else prefill)
