"""State of a search on disk: one safetensors file, numbers in its header. Resuming gives what no interruption would."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from eos_platform.common import strict_json
from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError, explain, shorten
from eos_platform.common.files import write_atomic
from eos_platform.common.former_names import current_tensor
from eos_platform.common.strict_types import Int, Real
from eos_platform.costs.device.predictor import Predictor
from eos_platform.costs.fit import Fit
from eos_platform.search.config import SearchConfig
from eos_platform.search.parameters import Parameters

FILE = "search.safetensors"
FORMAT = "5"  # rises when what is kept, or what it means, changes
LATER = ("shares", "scale")  # left out where they say nothing: of generalists, of costs that are measured
READABLE = ("4", FORMAT)  # 4 has former names of tensors and settings


class Unusable(EosError):
    """A state that no search can go on from: damaged, of another search, or of another version."""


Count = Annotated[Int, Field(ge=0)]
Finite = Annotated[Real, Field(allow_inf_nan=False)]


@dataclass
class Progress:
    """Where a search stands, beside its parameters and its optimiser."""

    step: Count = 0
    samples: Count = 0  # questions run through the model, with repetition, deployed trials included
    multiplier: Annotated[Finite, Field(ge=0.0)] = 0.0
    candidates: Count = 0
    restarts: Count = 0
    fixed: tuple[Count, ...] | None = None
    best: Finite | None = None  # loss of the parameters that deployed best
    seconds: Annotated[Finite, Field(ge=0.0)] = 0.0
    history: list[dict[str, Finite]] = field(default_factory=list)
    shares: tuple[Annotated[Finite, Field(ge=0.0)], ...] | None = None  # of each place in the loss, of a generalist
    scale: Annotated[Int, Field(ge=1)] | None = None  # of the counts at the end (``search.meeting``)


_PROGRESS = TypeAdapter(Progress)


def save_state(
    folder: Path,
    config: SearchConfig,
    workload: str,
    parameters: Parameters,
    optimiser: torch.optim.Adam,
    progress: Progress,
    best: dict[str, Tensor],
    fitted: Fit | Predictor | None = None,
) -> None:
    """Write the state into ``folder`` (atomically).

    Args:
        workload: the model and task searched.
        best: the parameters that deployed best so far.
        fitted: the cost's fit, where it has one.
    """
    tensors = {name: value.detach().cpu() for name, value in _named(parameters, optimiser).items()}
    tensors["mask"] = parameters.mask.cpu()
    tensors |= {f"best.{name}": value.cpu() for name, value in best.items()}
    header = {
        "format": FORMAT,
        "config": strict_json.dumps(config.fields()),
        "workload": workload,
        "progress": strict_json.dumps({k: v for k, v in asdict(progress).items() if k not in LATER or v is not None}),
    }
    if isinstance(fitted, Fit):  # what is predicted from a device profile is so again
        header["fit"] = fitted.model_dump_json()
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
            if header.get("format") not in READABLE and "progress" in header:
                raise Unusable(f"{path}: written by another version of the search; use another folder")
            tensors = {current_tensor(key): saved.get_tensor(key) for key in saved.keys()}  # noqa: SIM118
        settings = SearchConfig.of(strict_json.loads(header["config"], "config"), "config")
        if settings != config or header["workload"] != workload:
            raise Unusable(f"{path}: belongs to a search with other settings or of another model; use another folder")
        progress = _progress(header["progress"], config, parameters)
        state = {**_named(parameters, optimiser), "mask": parameters.mask}
        best = {f"best.{name}": value for name, value in parameters.named_parameters() if progress.best is not None}
        check_tensors(tensors, {**state, **best})
    except Unusable:
        raise
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError, EosError) as error:
        raise Unusable(f"{path}: not a search checkpoint: {error_text(error)}") from None
    with torch.no_grad():  # only now: a state that is refused has changed nothing
        for name, value in state.items():
            value.copy_(tensors[name])
    parameters.fixed = progress.fixed
    return progress, {name.removeprefix("best."): tensors[name].to(parameters.keep.device) for name in best}


def kept_fit(folder: Path) -> Fit | None:
    """The cost's fit that a search in ``folder`` began with; None: there is none, or nobody can read it."""
    try:
        with safe_open(folder / FILE, framework="pt") as saved:
            header = saved.metadata() or {}
        return Fit.model_validate(strict_json.loads(header["fit"])) if "fit" in header else None
    except (SafetensorError, OSError, ValueError, EosError):
        return None  # ``load_state`` says what is wrong with the file


def _named(parameters: Parameters, optimiser: torch.optim.Adam) -> dict[str, Tensor]:
    """What a step changes, by its name in the file."""
    tensors: dict[str, Tensor] = {}
    for name, value in parameters.named_parameters():
        tensors[f"parameter.{name}"] = value
        for key, moment in optimiser.state[value].items():
            tensors[f"adam.{key}.{name}"] = moment
    return tensors


def _progress(text: str, config: SearchConfig, parameters: Parameters) -> Progress:
    """Progress that a search with ``config`` can have made.

    Raises:
        EosError: it cannot.
    """
    values = strict_json.loads(text, "progress")
    try:
        progress = _PROGRESS.validate_python(values)
    except ValidationError as error:
        raise explain(error, "progress") from None
    fields = {one.name for one in dataclasses.fields(Progress)}
    if {*values, *LATER} != fields:
        raise EosError(f"progress: its keys are not {', '.join(sorted(fields))}")
    if progress.step > config.steps:
        raise EosError(f"progress: step {progress.step} of a search of {config.steps}")
    if progress.candidates > parameters.tokens:
        raise EosError(f"progress: {progress.candidates} candidates among {parameters.tokens} tokens")
    if progress.fixed is not None:
        falling = [parameters.arriving, *progress.fixed]
        if len(progress.fixed) != len(parameters.layers) or falling != sorted(falling, reverse=True):
            raise EosError(
                f"progress: fixed counts {list(progress.fixed)} do not fit {len(parameters.layers)} sites "
                f"that {parameters.arriving} tokens arrive at"
            )
    elif progress.best is not None:
        raise EosError("progress: a best loss, but no fixed counts that it could be of")
    return progress


def check_tensors(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Whether ``tensors`` has the names, types and shapes of ``wanted``, and finite numbers.

    Raises:
        EosError: it has not; the first that differs.
    """
    if missing := sorted(wanted.keys() - tensors.keys()):
        raise EosError(f"it lacks '{missing[0]}'")
    if others := sorted(tensors.keys() - wanted.keys()):
        raise EosError(f"it holds '{shorten(others[0])}', which no such search has")
    for name, value in wanted.items():
        tensor = tensors[name]
        if tensor.shape != value.shape or tensor.dtype != value.dtype:
            raise EosError(f"'{name}' is {_form(tensor)}, not {_form(value)}")
        if not bool(tensor.isfinite().all()):
            raise EosError(f"'{name}' holds numbers that are not finite")
        if name.startswith(("adam.step.", "adam.exp_avg_sq.")) and bool((tensor < 0).any()):
            raise EosError(f"'{name}' holds numbers below zero")
        if name == "mask" and not bool(((tensor == 0) | (tensor == 1)).all()):
            raise EosError(f"'{name}' holds other numbers than 0 and 1")


def _form(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
