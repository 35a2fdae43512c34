"""The machine that something is measured on: its name, and the versions that its times depend on."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field


class Machine(BaseModel):
    """A device and what runs on it.

    Attributes:
        name: as the driver, or the processor, says it.
        kind: of device.
        memory: bytes of a GPU; 0 on a CPU.
        threads: that torch computes with on a CPU; 0 on a GPU.
        driver: its version; empty on a CPU, or where nobody tells.
        torch, cuda, transformers: versions; no ``cuda`` on a CPU.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    kind: Literal["cuda", "cpu"]
    memory: int = Field(default=0, ge=0)
    threads: int = Field(default=0, ge=0)
    driver: str = Field(default="", max_length=100)
    torch: str = Field(max_length=100)
    cuda: str = Field(default="", max_length=100)
    transformers: str = Field(max_length=100)

    def other_device(self, here: Machine) -> bool:
        """Whether times of one are no times of the other."""
        return (self.kind, self.name, self.threads) != (here.kind, here.name, here.threads)

    def drifted(self, here: Machine) -> list[str]:
        """Versions that differ on the same device, in words."""
        names = ("driver", "torch", "cuda", "transformers")
        pairs = [(name, getattr(self, name), getattr(here, name)) for name in names]
        return [f"{name} {was or 'unknown'} then, {now or 'unknown'} now" for name, was, now in pairs if was != now]

    def __str__(self) -> str:
        return f"{self.name}, {self.threads} threads" if self.kind == "cpu" else self.name


def machine(device: torch.device) -> Machine:
    """The machine that ``device`` is of."""
    import transformers

    versions: dict[str, Any] = {"torch": torch.__version__, "transformers": transformers.__version__}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return Machine(
            name=properties.name,
            kind="cuda",
            memory=properties.total_memory,
            driver=_driver(),
            cuda=torch.version.cuda or torch.version.hip or "",
            **versions,
        )
    return Machine(name=_processor(), kind="cpu", threads=torch.get_num_threads(), **versions)


@cache
def _processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return value.strip()[:200]
    except OSError:
        pass
    return (platform.processor() or platform.machine() or "unknown processor")[:200]


@cache
def _driver() -> str:
    """The version of NVIDIA's driver; empty where nobody tells."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env={**os.environ})
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().splitlines()[0][:100] if done.returncode == 0 and done.stdout.strip() else ""
