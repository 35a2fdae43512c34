"""How long the language model's prefill takes with an operator attached, and how much memory: measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch

from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.adapters.prefill import Prefill
from eos_platform.models.runtime.attach import reducing
from eos_platform.operators.spec import OperatorSpec

WARM_UP, REPEATS = 3, 20
PATIENCE = 3.0  # seconds; a slow CPU is asked less often
Clock = Callable[[], float]  # seconds
_CLOCK: ContextVar[Clock] = ContextVar("clock", default=time.perf_counter)


@contextmanager
def timed_by(clock: Clock) -> Iterator[None]:
    """While it holds, a CPU's times are told by ``clock``: ``time.process_time`` does not see what else the machine
    does, and counts the threads of a process as one after another."""
    token = _CLOCK.set(clock)
    try:
        yield
    finally:
        _CLOCK.reset(token)


def median_ms(work: Callable[[], Any], device: torch.device, repeats: int = REPEATS) -> float:
    """Median milliseconds of ``work``: device time on CUDA, on a CPU wall time (or as ``timed_by`` says)."""
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
    times: list[float] = []
    clock, begun = _CLOCK.get(), time.perf_counter()
    while len(times) < repeats and (len(times) < 3 or time.perf_counter() - begun < PATIENCE):
        started = clock()
        work()
        times.append(1000 * (clock() - started))
    return statistics.median(times)


@torch.no_grad()
def prefill_cost(model: Any, operator: OperatorSpec | None, prompts: Prefill) -> dict[str, float]:
    """``prefill_ms`` and, on CUDA, ``memory_mb``: the most held beside weights and inputs.

    One prefill, keeping its cache, with the logits of the last position; the operator's own work is in it, the vision
    tower's is not.

    Args:
        prompts: without answers or padding, as the operator's vision tower leaves them (``tasks.typical``).
    """
    adapter = adapter_of(model)

    def work() -> None:
        adapter.start(prompts)

    with reducing(model, operator, prompts.layout) if operator else nullcontext():
        cost = {"prefill_ms": median_ms(work, model.device)}
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)
            torch.cuda.reset_peak_memory_stats(model.device)
            before = torch.cuda.memory_allocated(model.device)
            work()
            torch.cuda.synchronize(model.device)
            cost["memory_mb"] = (torch.cuda.max_memory_allocated(model.device) - before) / 2**20
    return cost
