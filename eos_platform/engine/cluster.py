"""Ray: starting it quietly, what it has, and what share of it one search gets."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import ray

from eos_platform.engine.study_file import StudyFile
from eos_platform.errors import EosError

OBJECT_STORE_BYTES = 200 * 1024 * 1024  # trials exchange a few kilobytes
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a relative model folder means the same in the worker
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the stores hold it all; the loggers cost more than a small trial
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints at any verbosity
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "30",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
}


@contextmanager
def ray_session(address: str = "local") -> Iterator[None]:
    """Ray for the length of the block; a Ray that is already up is used and left up.

    Raises:
        EosError: no cluster answers at ``address``.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    logging.getLogger("ray").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield
        return
    local: dict[str, Any] = {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(
            address=address,
            logging_level=logging.ERROR,
            log_to_driver=False,
            **(local if address == "local" else {}),
        )
    except (ConnectionError, RuntimeError, ValueError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EosError(f"cannot reach Ray at '{address}': {reason}") from None
    try:
        yield
    finally:
        ray.shutdown()


class Share(NamedTuple):
    """What one search gets, and how many run at once."""

    cpu: float
    gpu: float
    concurrent: int

    @property
    def threads(self) -> int:
        return max(1, int(self.cpu))


def share(study: StudyFile, has: Mapping[str, float]) -> Share:
    """The share of each search.

    Args:
        has: ``ray.cluster_resources()``.

    Raises:
        EosError: not even one search fits.
    """
    cpus, gpus = has.get("CPU", 0.0), has.get("GPU", 0.0)
    cpu, wanted = study.resources.cpu, study.resources.gpu
    if wanted != "auto":
        gpu = float(wanted)
    elif gpus:
        each = math.ceil(study.concurrent / gpus)  # searches on one GPU
        gpu = math.floor(1e4 / each) / 1e4
    else:
        gpu = 0.0
    if cpu > cpus:
        raise EosError(f"resources.cpu: a search wants {cpu:g} cores, there are {cpus:g}")
    if gpu > gpus:
        raise EosError(f"resources.gpu: a search wants {gpu:g} GPUs, there are {gpus:g}")
    fits = int(cpus // cpu)
    if gpu:
        fits = min(fits, int(gpus) * int(1 / gpu) if gpu <= 1 else int(gpus // gpu))
    return Share(cpu, gpu, max(1, min(study.concurrent, fits)))


def remotely(function: Callable[..., Any], part: Share) -> Callable[..., Any]:
    """``function`` as a Ray task with a search's share; its process ends with it and gives its memory back."""
    return ray.remote(num_cpus=part.cpu, num_gpus=part.gpu, max_calls=1)(function).remote


def outcome(reference: Any) -> Any:
    """A task's result; its error as it was raised there.

    Raises:
        EosError: bad input found by the task, or a worker that died.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, EosError):
            raise error.cause from None
        raise
    except ray.exceptions.WorkerCrashedError as error:
        raise EosError(f"a worker process died: {str(error).splitlines()[0]}") from None
