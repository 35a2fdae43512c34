"""Options of ``eos search`` that say what it may take of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError
from eos_platform.common.sizes import parse_bytes

if TYPE_CHECKING:
    from eos_platform.search.scale.resources import Resources

Dtype = Annotated[
    str,
    typer.Option(help="Precision of the weights: float32, bfloat16, float16, 8bit, 4bit; default: bfloat16 on a GPU."),
]
Memory = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Memory the search may use on each GPU, such as 22GB; default: all.")
]
Gpus = Annotated[int, typer.Option(min=1, help="Number of GPUs that share every batch, each holding the whole model.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Estimate time, memory and disk space, and stop.")]


def resources_of(memory: str | None, gpus: int, device: str | None) -> Resources:
    """What a search may take.

    Raises:
        EosError: no amount of memory, or several processes and a device that is one for all of them.
    """
    from eos_platform.search.scale.resources import Resources

    if gpus > 1 and device == "auto":
        raise EosError("--gpus: a model that is spread over GPUs (--device auto) is searched by one process")
    return Resources(memory=None if memory is None else parse_bytes(memory, "--memory"), processes=gpus)


def first_device() -> str:
    """Where the first of several processes runs."""
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu"


def dry(workload: Any, config: Any, resources: Resources, state: Path | None) -> None:
    """Say what a search would take; of a portfolio, what its search from one start would."""
    from eos_platform.search.portfolio.find import planned_steps
    from eos_platform.search.run import estimate

    found = estimate(workload, config, resources, state)
    for line in found.lines() if found else ("nothing is left to do: this search has ended",):
        terminal.console().print(line, soft_wrap=True)
    if planned_steps(config) > config.steps:
        terminal.console().print(
            f"This is for a single starting point. By default, a search tries several: {planned_steps(config)} steps"
            f" instead of {config.steps}, and an evaluation of every design; --set portfolio=false uses one.",
            soft_wrap=True,
        )
