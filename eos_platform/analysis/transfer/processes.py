"""Cells of a transfer matrix by several processes on one device: kernels of small models leave most of it idle."""

from __future__ import annotations

import multiprocessing
import queue
import time
from collections.abc import Iterator
from typing import Any

import torch

from eos_platform.analysis.transfer.cells import Record
from eos_platform.analysis.transfer.plan import Item, Settings
from eos_platform.analysis.transfer.run import Perform, Sources, grouped, here
from eos_platform.common.errors import EosError

LOOK = 5.0  # seconds between looks at whether the processes are alive


def on_processes(
    processes: int, device: str | None = None, threads: int = 1, seconds: float = float("inf"), at_a_time: int = 0
) -> Perform:
    """Measure in so many processes; records come in the order in which they are done.

    Args:
        processes: that share the device.
        device: where they run.
        threads: of each.
        seconds: after so many, from now on, no further cell is begun.
        at_a_time: cells that a process takes at once; 0: those of a place, a budget and a seed.
    """
    until = time.time() + seconds

    def perform(items: list[Item], settings: Settings, sources: Sources) -> Iterator[Record]:
        groups = grouped(items)
        if at_a_time:
            groups = [some[n : n + at_a_time] for some in groups for n in range(0, len(some), at_a_time)]
        if not groups:
            return
        context = multiprocessing.get_context("spawn")
        todo, done = context.Queue(), context.Queue()
        count = min(processes, len(groups))
        for group in [*groups, *[None] * count]:
            todo.put(group)
        workers = [
            context.Process(
                target=_work, args=(todo, done, settings, dict(sources), device, threads, until), daemon=True
            )
            for _ in range(count)
        ]
        for worker in workers:
            worker.start()
        try:
            yield from _records(done, workers)
        finally:
            for worker in workers:
                worker.terminate()

    return perform


def _records(done: Any, workers: list[Any]) -> Iterator[Record]:
    """Until every process has said that it has no more.

    Raises:
        EosError: they ended without saying so.
    """
    ended = 0
    while ended < len(workers):
        try:
            record = done.get(timeout=LOOK)
        except queue.Empty:
            if not any(worker.is_alive() for worker in workers) and done.empty():
                raise EosError("transfer: processes ended before their cells were done (memory?)") from None
            continue
        if record is None:
            ended += 1
        else:
            yield record


def _work(
    todo: Any, done: Any, settings: Settings, sources: Sources, device: str | None, threads: int, until: float
) -> None:
    torch.set_num_threads(max(1, threads))
    perform = here(device)  # keeps what it has loaded
    for group in iter(todo.get, None):
        for item in group:
            if time.time() < until:
                try:
                    for record in perform([item], settings, sources):
                        done.put(record)
                except Exception as error:  # one cell's; the others go on
                    done.put(_failed(item, error))
    done.put(None)


def _failed(item: Item, error: Exception) -> Record:
    about = {"key": item.key, "kind": item.kind, "place": item.place, "source": item.source}
    reason = f"{type(error).__name__}: {error}"[:500]
    return about | {"budget": item.budget, "seed": item.seed, "status": "refused", "reason": reason}
