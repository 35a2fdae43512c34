"""What one search may take of the machine. It finds the same operator with any of it, up to rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from eos_platform.common.errors import EosError
from eos_platform.common.sizes import shown_bytes


@dataclass(frozen=True)
class Resources:
    """Limits, and choices that a search otherwise makes itself.

    Attributes:
        memory: bytes that the process may hold of each device; default: all there is.
        at_once: questions that go through the model together in a step.
        checkpointing: whether decoder layers run again in the backward pass instead of keeping what they computed.
        processes: that share every batch, each with the model on a GPU of its own.
    """

    memory: int | None = None
    at_once: int | None = None
    checkpointing: bool | None = None
    processes: int = 1

    def limit(self, model: Any) -> None:
        """Hold the process to its memory on every GPU that the model is on.

        Raises:
            EosError: a GPU has less.
        """
        if self.memory is None:
            return
        for device in gpus_of(model):
            total = torch.cuda.get_device_properties(device).total_memory
            if self.memory > total:
                raise EosError(f"memory: {device} has {shown_bytes(total)}, not {shown_bytes(self.memory)}")
            torch.cuda.set_per_process_memory_fraction(self.memory / total, device)


def gpus_of(model: Any) -> list[torch.device]:
    """The GPUs that a model's weights are on."""
    return sorted({one.device for one in model.parameters() if one.device.type == "cuda"}, key=lambda one: one.index)


def room(device: torch.device, limit: int | None) -> int | None:
    """Bytes that can still be taken on a device; None: nobody set a limit on the host's memory."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_allocated(device)
        free += torch.cuda.memory_reserved(device) - held
        return free if limit is None else min(free, min(limit, total) - held)
    return None if limit is None else limit - _resident()


def _resident() -> int:
    """Bytes of the host's memory that this process holds."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096
    except OSError:  # no Linux
        return 0
