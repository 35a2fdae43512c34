"""Cells of a transfer matrix as Ray tasks: those of one place and seed go to one worker, which loads the model once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ray

from eos_platform.analysis.transfer.cells import Record
from eos_platform.analysis.transfer.plan import Item, Settings
from eos_platform.analysis.transfer.run import Perform, Sources, here
from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError


def on_ray(device: str | None = None) -> Perform:
    """Measure where Ray has room; records come in the order in which they are done.

    A worker takes a GPU where there are any, else one core of the CPU.
    """

    def perform(items: list[Item], settings: Settings, sources: Sources) -> Iterator[Record]:
        groups: dict[tuple[str, float, int], list[Item]] = {}
        for item in items:
            groups.setdefault((item.place, item.budget, item.seed), []).append(item)
        gpus = ray.cluster_resources().get("GPU", 0.0)
        task: Any = ray.remote(num_cpus=1, num_gpus=1 if gpus else 0, max_retries=4)(_measured)
        shared = ray.put(dict(sources))
        open_ = [task.remote(group, settings, shared, device) for group in groups.values()]
        try:
            while open_:
                (done, *_), open_ = ray.wait(open_, num_returns=1)
                yield from ray.get(done)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, EosError):
                raise error.cause from None
            raise
        except ray.exceptions.RayError as error:
            raise EosError(f"a worker died during the transfer matrix: {error_text(error)}") from None
        finally:
            for reference in open_:
                ray.cancel(reference, force=True)

    return perform


def _measured(items: list[Item], settings: Settings, sources: Sources, device: str | None) -> list[Record]:
    return list(here(device)(items, settings, sources))
