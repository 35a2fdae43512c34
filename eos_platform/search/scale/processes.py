"""One search in several processes, one a GPU: this process is the first, and starts the others.

    load = partial(load_workload, "bundled")
    result = search_together(load, load(device="cuda:0"), config, Resources(processes=2))

Each has the model and all the questions, and takes its share of every batch, trial and evaluation; gradients of the
operator's parameters (a few hundred kB) and what was found are summed up (``tasks.together``). On GPUs that goes
through NCCL, on CPUs through gloo. The others write nothing and report nothing, and end with the search.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError, brief
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import SearchCost
from eos_platform.search.result import SearchResult
from eos_platform.search.run import Measure, Report, search
from eos_platform.search.scale.resources import Resources
from eos_platform.tasks.base import Subject
from eos_platform.tasks.together import Group, Tell, together

Load = Callable[..., Subject]  # of a ``device``; must be a function that another process can import
WAIT = timedelta(minutes=30)  # for the slowest: the first use of a picture's features makes them


def search_together(
    load: Load,
    workload: Subject,
    config: SearchConfig,
    resources: Resources,
    *,
    report: Report | None = None,
    checkpoint: Path | None = None,
    start: Mapping[str, Tensor] | None = None,
    measure: Measure | None = None,
    cost: SearchCost | None = None,
    tell: Tell | None = None,
) -> SearchResult:
    """``search`` in ``resources.processes`` processes; the operator is that of one process, up to rounding.

    Args:
        load: gives the same workload in another process, on the device it is told.
        workload: of this process, on the first GPU or on the CPU.
        config, report, checkpoint, start, measure, cost, tell: of ``search``.
        resources: likewise.

    Raises:
        EosError: there are fewer GPUs, another process failed, or what ``search`` says.
    """
    size = resources.processes
    if size == 1:
        return search(workload, config, report=report, checkpoint=checkpoint, start=start, measure=measure, cost=cost,
                      resources=resources, tell=tell)  # fmt: skip
    device = workload.model.device
    check_processes(size, device)
    if device.type == "cuda":  # what is sent to the others lies on the current GPU
        torch.cuda.set_device(device)
    begun = {name: value.detach().cpu() for name, value in (start or {}).items()}
    with tempfile.TemporaryDirectory(prefix="eos-") as folder, others(load, size, device, config, resources, begun,
                                                                      checkpoint, Path(folder)) as started:  # fmt: skip
        _meet(started, Path(folder))
        with joined(Path(folder), Group(0, size), device.type):
            return search(workload, config, report=report, checkpoint=checkpoint, start=start, measure=measure,
                          cost=cost, resources=resources, tell=tell)  # fmt: skip


def check_processes(size: int, device: torch.device) -> None:
    """Refuse more processes than there are GPUs.

    Raises:
        EosError: there are not so many.
    """
    there = torch.cuda.device_count() if device.type == "cuda" else size
    if size > there:
        raise EosError(f"gpus: {size} are wanted for one search, and {there} {'is' if there == 1 else 'are'} here")
    if not torch.distributed.is_available():
        raise EosError("gpus: this build of torch has no torch.distributed")
    if torch.distributed.is_initialized():
        raise EosError("gpus: this process is one of a group already (torch.distributed)")


def _gpus(size: int, first: int) -> list[str]:
    """A GPU for each process: the first has one already."""
    rest = [number for number in range(torch.cuda.device_count()) if number != first]
    return [f"cuda:{number}" for number in (first, *rest[: size - 1])]


@contextmanager
def joined(folder: Path, group: Group, kind: str) -> Iterator[None]:
    """While it holds, this process is one of a group, which meets in a folder."""
    backend = "nccl" if kind == "cuda" else "gloo"
    meeting = f"file://{folder / 'meeting'}"
    torch.distributed.init_process_group(
        backend, init_method=meeting, rank=group.rank, world_size=group.size, timeout=WAIT
    )
    try:
        with together(group):
            yield
    finally:
        with contextlib.suppress(RuntimeError):  # another has left already
            torch.distributed.destroy_process_group()


@contextmanager
def others(
    load: Load,
    size: int,
    device: torch.device,
    config: SearchConfig,
    resources: Resources,
    start: Mapping[str, Tensor],
    checkpoint: Path | None,
    folder: Path,
) -> Iterator[list[Any]]:
    """The other processes of a search, from the second on; none is left behind.

    Raises:
        EosError: one of them failed.
    """
    context = torch.multiprocessing.get_context("spawn")
    threads = torch.get_num_threads()
    given = (load, size, config, resources, dict(start), checkpoint, folder, threads)
    places = [device.type] * size if device.type != "cuda" else _gpus(size, device.index or 0)
    started = [context.Process(target=_other, args=(rank, places[rank], *given)) for rank in range(1, size)]
    for process in started:
        process.start()
    watching = threading.Event()
    watch = threading.Thread(target=_watch, args=(started, folder, watching), daemon=True)
    watch.start()
    try:
        yield started
    except Exception as error:
        watching.set()
        for process in started:  # who failed of itself has said why
            process.join(2)
        if told := _failure(folder):
            raise EosError(f"gpus: another process of the search failed: {told}") from error
        raise
    finally:
        watching.set()
        for process in started:
            process.join(10)
            if process.is_alive():
                process.terminate()
                process.join(10)


def _meet(started: list[Any], folder: Path) -> None:
    """Wait until all have loaded their models.

    Raises:
        EosError: one has ended instead.
    """
    while len(list(folder.glob("ready-*"))) < len(started):
        if any(process.exitcode is not None for process in started):
            raise EosError("gpus: another process of the search ended before it began")
        time.sleep(0.05)


def _watch(started: list[Any], folder: Path, watching: threading.Event) -> None:
    """Where another process ends in failure, this one would wait for it in vain: what it waits for is broken off."""
    while not watching.wait(1.0):
        if any(process.exitcode not in (None, 0) for process in started):
            time.sleep(1.0)
            if watching.is_set():
                return
            with contextlib.suppress(Exception):
                torch.distributed.distributed_c10d._abort_process_group()
            return


def _failure(folder: Path) -> str:
    """What another process said before it ended; empty: nothing."""
    for path in sorted(folder.glob("failed-*")):
        return brief(path.read_text(encoding="utf-8"), 300)
    return ""


def _other(
    rank: int,
    device: str,
    load: Load,
    size: int,
    config: SearchConfig,
    resources: Resources,
    start: dict[str, Tensor],
    checkpoint: Path | None,
    folder: Path,
    threads: int,
) -> None:
    """The life of another process."""
    torch.set_num_threads(threads)
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.set_device(device)
    try:
        workload = load(device=device)
        (folder / f"ready-{rank}").touch()
        with joined(folder, Group(rank, size), kind):
            search(workload, config, checkpoint=checkpoint, start=start or None, resources=resources)
    except KeyboardInterrupt:
        os._exit(130)
    except BaseException as error:
        text = str(error) if isinstance(error, EosError) else "".join(traceback.format_exception_only(error))
        (folder / f"failed-{rank}").write_text(" ".join(text.split()), encoding="utf-8")
        raise SystemExit(1) from None
