"""Joules that a GPU takes, by its own counter (NVML's total energy, in thousandths of a joule)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError
from eos_platform.common.extras import needed

LONG = 1.0  # seconds of work that is measured: the counter moves some ten times a second
MOST = 10_000  # repeats


def counter(device: torch.device) -> Callable[[], float]:
    """A function that reads the joules a device has taken since its driver was loaded.

    Raises:
        EosError: it is no NVIDIA GPU, its driver does not tell, or ``pynvml`` is not there.
    """
    if device.type != "cuda":
        raise EosError(f"energy is read from the counter of an NVIDIA GPU (NVML); the model is on {device.type}")
    nvml = needed("pynvml", "energy", "energy")
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError as error:
        raise EosError(f"energy cannot be read from NVML: {error_text(error)}") from None
    return lambda: float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000


def joules(work: Callable[[], Any], device: torch.device, read: Callable[[], float] | None = None) -> float:
    """Of one run of ``work``: the mean of as many as take a second.

    What the device would take idle is in it; nothing else should run there.

    Raises:
        EosError: see ``counter``, or the counter stands still.
    """
    read = read or counter(device)
    _wait(work, device)
    begun, before, runs = time.perf_counter(), read(), 0
    while runs < MOST and (time.perf_counter() - begun < LONG):
        work()
        runs += 1
        if runs % 8 == 0:  # launches are far ahead of the device
            _wait(None, device)
    _wait(None, device)
    taken = read() - before
    if taken <= 0:
        raise EosError("energy cannot be read: NVML's counter does not move")
    return taken / runs


def _wait(work: Callable[[], Any] | None, device: torch.device) -> None:
    if work is not None:
        work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
