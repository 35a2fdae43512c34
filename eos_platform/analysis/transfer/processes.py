"""Cells of a transfer matrix in several processes of this machine: those of one place, budget and seed go to one."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

import torch

from eos_platform.analysis.transfer.cells import Record
from eos_platform.analysis.transfer.plan import Item, Settings
from eos_platform.analysis.transfer.run import Perform, Sources, here
from eos_platform.common.errors import EosError


def grouped(items: list[Item]) -> list[list[Item]]:
    """Items that one worker measures together, since they need the same place."""
    groups: dict[tuple[str, float, int], list[Item]] = {}
    for item in items:
        groups.setdefault((item.place, item.budget, item.seed), []).append(item)
    return list(groups.values())


def on_processes(count: int, device: str | None = None) -> Perform:
    """Measure in ``count`` processes; records come group by group, as groups are done.

    Small models leave a GPU mostly idle, so that several processes share one well, best under NVIDIA's MPS
    (``nvidia-cuda-mps-control -d``).

    Args:
        count: of processes, each with one thread.
        device: where they run.
    """

    def perform(items: list[Item], settings: Settings, sources: Sources) -> Iterator[Record]:
        groups = grouped(items)
        if not groups:
            return
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(min(count, len(groups)), context, initializer=torch.set_num_threads, initargs=(1,))
        try:
            begun: list[Future[list[Record]]] = [
                pool.submit(_measured, group, settings, sources, device) for group in groups
            ]
            for ended in as_completed(begun):
                yield from ended.result()
        except BrokenProcessPool:
            raise EosError("a process of the matrix was killed (out of memory?); use fewer --processes") from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    return perform


def _measured(items: list[Item], settings: Settings, sources: Sources, device: str | None) -> list[Record]:
    return list(here(device)(items, settings, sources))
