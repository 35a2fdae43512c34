"""Cells of a transfer matrix by several processes on one device: kernels of small models leave most of it idle."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import torch

from eos_platform.analysis.transfer.cells import Record
from eos_platform.analysis.transfer.plan import Item, Settings
from eos_platform.analysis.transfer.run import Perform, Sources, grouped, here
from eos_platform.common.errors import EosError

Lanes = list[list[list[Item]]]  # groups of cells, by place
LOOK = 5.0  # seconds between looks at whether the processes are alive


def on_processes(
    processes: int, device: str | None = None, threads: int = 1, seconds: float = float("inf"), at_a_time: int = 0
) -> Perform:
    """Measure in so many processes; records come in the order in which they are done.

    A process stays with a place, whose model it has loaded, as long as there is something to do.

    Args:
        processes: that share the device.
        device: where they run.
        threads: of each.
        seconds: after so many, from now on, no further cell is begun.
        at_a_time: cells that a process takes at once; 0: those of a place, a budget and a seed.
    """
    until = time.time() + seconds

    def perform(items: list[Item], settings: Settings, sources: Sources) -> Iterator[Record]:
        lanes = _lanes(items, settings, at_a_time)
        if not lanes:
            return
        context = multiprocessing.get_context("spawn")
        done, taken = context.Queue(), [context.Value("i", 0) for _ in lanes]
        count = min(processes, sum(map(len, lanes)))
        workers = [
            context.Process(
                target=_work,
                args=(lanes, taken, number % len(lanes), done, settings, dict(sources), device, threads, until),
                daemon=True,
            )
            for number in range(count)
        ]
        for worker in workers:
            worker.start()
        try:
            yield from _records(done, workers)
        finally:
            for worker in workers:
                worker.terminate()

    return perform


def _lanes(items: list[Item], settings: Settings, at_a_time: int) -> Lanes:
    """Cells of each place, in the order of the ways and budgets that were named, in groups that a process takes."""
    ways = {kind: number for number, kind in enumerate(settings.ways)}
    budgets = {budget: number for number, budget in enumerate(settings.budgets)}
    lanes: dict[str, list[list[Item]]] = {}
    groups = grouped(items)
    if at_a_time:
        order = sorted(items, key=lambda item: (ways.get(item.kind, -1), budgets.get(item.budget, -1)))
        alike: dict[tuple[str, str, float], list[Item]] = {}
        for item in order:
            alike.setdefault((item.place, item.kind, item.budget), []).append(item)
        groups = [some[n : n + at_a_time] for some in alike.values() for n in range(0, len(some), at_a_time)]
    for group in groups:
        lanes.setdefault(group[0].place, []).append(group)
    return list(lanes.values())


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
    lanes: Lanes,
    taken: list[Any],
    first: int,
    done: Any,
    settings: Settings,
    sources: Sources,
    device: str | None,
    threads: int,
    until: float,
) -> None:
    torch.set_num_threads(max(1, threads))
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    perform = here(device)  # keeps what it has loaded
    for lane in range(len(lanes)):
        for group in _from(lanes, taken, (first + lane) % len(lanes)):
            for item in group:
                if time.time() < until:
                    try:
                        for record in perform([item], settings, sources):
                            done.put(record)
                    except Exception as error:  # one cell's; the others go on
                        done.put(_failed(item, error))
    done.put(None)


def _end_with(parent: Any) -> None:
    """A process whose parent was killed has nobody to tell its records."""
    if parent is not None:  # else it is no process of its own
        parent.join()
        os._exit(1)


def _from(lanes: Lanes, taken: list[Any], lane: int) -> Iterator[list[Item]]:
    """What no other process has taken of a lane."""
    while True:
        with taken[lane].get_lock():
            number = taken[lane].value
            taken[lane].value += 1
        if number >= len(lanes[lane]):
            return
        yield lanes[lane][number]


def _failed(item: Item, error: Exception) -> Record:
    about = {"key": item.key, "kind": item.kind, "place": item.place, "source": item.source}
    reason = f"{type(error).__name__}: {error}"[:500]
    return about | {"budget": item.budget, "seed": item.seed, "status": "refused", "reason": reason}
