"""Cells of a transfer matrix as Ray tasks: those of one place and seed go to one worker, which loads the model once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import ray

from eos_platform.analysis.transfer.cells import Record
from eos_platform.analysis.transfer.plan import Item, Settings
from eos_platform.analysis.transfer.run import Perform, Sources, grouped, here
from eos_platform.engine.cluster.ray_tasks import as_they_end


def on_ray(device: str | None = None) -> Perform:
    """Measure where Ray has room; records come in the order in which they are done.

    A worker takes a GPU where there are any, else one core of the CPU.
    """

    def perform(items: list[Item], settings: Settings, sources: Sources) -> Iterator[Record]:
        gpus = ray.cluster_resources().get("GPU", 0.0)
        task: Any = ray.remote(num_cpus=1, num_gpus=1 if gpus else 0, max_retries=4)(_measured)
        shared = ray.put(dict(sources))
        begun = [task.remote(group, settings, shared, device) for group in grouped(items)]
        with closing(as_they_end(begun, "the transfer matrix")) as ended:
            for records in ended:
                yield from records

    return perform


def _measured(items: list[Item], settings: Settings, sources: Sources, device: str | None) -> list[Record]:
    return list(here(device)(items, settings, sources))
