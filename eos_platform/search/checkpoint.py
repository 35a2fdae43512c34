"""State of a search on disk: one safetensors file, numbers in its header. Resuming gives what no interruption would."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from eos_platform.boundary import words_of
from eos_platform.errors import EosError
from eos_platform.files import write_atomic
from eos_platform.search.config import SearchConfig
from eos_platform.search.parameters import Parameters

FILE = "search.safetensors"
FORMAT = "4"  # rises when what is kept, or what it means, changes


class Unusable(EosError):
    """A state that no search can go on from: damaged, of another search, or of another version."""


@dataclass
class Progress:
    """Where a search stands, beside its parameters and its optimiser."""

    step: int = 0
    samples: int = 0  # questions run through the model, with repetition, deployed trials included
    multiplier: float = 0.0
    candidates: int = 0
    restarts: int = 0
    fixed: tuple[int, ...] | None = None
    best: float | None = None  # loss of the parameters that deployed best
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


def save_state(
    folder: Path,
    config: SearchConfig,
    workload: str,
    parameters: Parameters,
    optimiser: torch.optim.Adam,
    progress: Progress,
    best: dict[str, Tensor],
) -> None:
    """Write the state into ``folder`` (atomically).

    Args:
        workload: the model and task searched.
        best: the parameters that deployed best so far.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in parameters.named_parameters():
        tensors[f"parameter.{name}"] = value.detach().cpu()
        for key, moment in optimiser.state.get(value, {}).items():
            tensors[f"adam.{key}.{name}"] = moment.detach().cpu()
    tensors["mask"] = parameters.mask.cpu()
    tensors |= {f"best.{name}": value.cpu() for name, value in best.items()}
    header = {
        "format": FORMAT,
        "config": config.model_dump_json(),
        "workload": workload,
        "progress": json.dumps(asdict(progress)),
    }
    write_atomic(folder / FILE, save({key: value.contiguous() for key, value in tensors.items()}, header))


def load_state(
    folder: Path, config: SearchConfig, workload: str, parameters: Parameters, optimiser: torch.optim.Adam
) -> tuple[Progress, dict[str, Tensor]] | None:
    """Put a saved state into ``parameters`` and ``optimiser``; the rest of it, or None when ``folder`` holds none.

    Raises:
        Unusable: the state is of a search with another configuration or of another version, or the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as saved:
            header = saved.metadata() or {}
            if header.get("format") != FORMAT and "progress" in header:
                raise Unusable(f"{path}: written by another version of the search; use another folder")
            tensors = {key: saved.get_tensor(key) for key in saved.keys()}  # noqa: SIM118
        same = SearchConfig.model_validate_json(header["config"]) == config and header["workload"] == workload
        progress = Progress(**json.loads(header["progress"]))
        if not same:
            raise Unusable(f"{path}: belongs to a search with other settings or of another model; use another folder")
        with torch.no_grad():
            for name, value in parameters.named_parameters():
                value.copy_(tensors[f"parameter.{name}"])
                for key, moment in optimiser.state[value].items():
                    moment.copy_(tensors[f"adam.{key}.{name}"])
            parameters.mask.copy_(tensors["mask"])
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise Unusable(f"{path}: not a search checkpoint: {words_of(error)}") from None
    progress.fixed = parameters.fixed = tuple(progress.fixed) if progress.fixed is not None else None
    best = {key.removeprefix("best."): value for key, value in tensors.items() if key.startswith("best.")}
    return progress, {name: value.to(parameters.keep.device) for name, value in best.items()}
