"""Of which type a model's weights are loaded, and where to: one device, or spread by layers over all the GPUs."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from eos_platform.common.errors import EosError, unknown
from eos_platform.common.sizes import shown_bytes
from eos_platform.models.loading.devices import find_device

SPREAD = "auto"  # a device's name
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
QUANTIZED = {"8bit": 1.0, "4bit": 0.5}  # bytes of a number
FILES = (".safetensors", ".bin")
ROOM = 0.85  # of a GPU that weights may take, so that something can be done with them


@dataclass(frozen=True)
class Placement:
    """How a model is loaded.

    Attributes:
        options: of ``from_pretrained``.
        device: it is moved to when it is loaded; None: it is where it should be.
    """

    options: Mapping[str, Any]
    device: torch.device | None

    def placed(self, model: Any) -> Any:
        """The model where it should be."""
        return model if self.device is None else model.to(self.device)


def place_weights(folder: Path, device: str | None = None, dtype: str = "auto") -> Placement:
    """How the model in a folder is loaded.

    Args:
        folder: of the model.
        device: its name; ``auto``: spread over all GPUs; default: one GPU, spread if it does not fit there, or the CPU.
        dtype: one of ``TYPES`` or ``QUANTIZED``, or ``auto``.

    Raises:
        EosError: no such type or device, or a package that is needed is missing.
    """
    if dtype not in ("auto", *TYPES, *QUANTIZED):
        raise unknown("dtype", dtype, ["auto", *TYPES, *QUANTIZED])
    spread = device == SPREAD
    if spread and not torch.cuda.is_available():
        raise EosError("device 'auto' spreads a model over GPUs, and there is none here")
    place = find_device(None if spread else device)
    if dtype == "auto":
        kind = torch.float32 if place.type == "cpu" else torch.bfloat16
    else:
        kind = TYPES.get(dtype, torch.bfloat16)
    options: dict[str, Any] = {"dtype": kind}
    quantized = dtype in QUANTIZED
    if quantized:
        options["quantization_config"] = _bits(dtype, place)
    if device is None and place.type == "cuda" and torch.cuda.device_count() > 1:
        wanted = weights_bytes(folder, kind) if not quantized else weights_bytes(folder, None) * QUANTIZED[dtype] / 2
        spread = wanted > ROOM * torch.cuda.mem_get_info(place)[0]
        if spread and not _has("accelerate"):
            raise EosError(
                f"model '{folder}': its weights take {shown_bytes(wanted)}, more than one GPU has; to spread it over"
                f" {torch.cuda.device_count()} needs accelerate: pip install 'eos-platform[large]'"
            )
    if spread and not _has("accelerate"):
        raise EosError("device 'auto' needs accelerate, which is not installed: pip install 'eos-platform[large]'")
    if spread:
        return Placement({**options, "device_map": "auto"}, None)
    if quantized:  # it is made on the device itself
        return Placement({**options, "device_map": {"": place}}, None)
    if place.type == "cuda" and _has("accelerate"):  # piece by piece, not all of it on the host first
        return Placement({**options, "device_map": {"": place}}, None)
    return Placement(options, place)


def weights_bytes(folder: Path, dtype: torch.dtype | None) -> float:
    """What the weights in a folder take once they are of a type; None: as they are.

    Files are taken to hold numbers of two bytes, as nearly all that are shared do.
    """
    held = float(sum(file.stat().st_size for file in folder.iterdir() if file.suffix in FILES))
    return held if dtype is None else held * (torch.finfo(dtype).bits // 8) / 2


def _bits(dtype: str, place: torch.device) -> Any:
    """transformers' own settings for weights of few bits.

    Raises:
        EosError: bitsandbytes is not installed, or there is no GPU.
    """
    if not _has("bitsandbytes") or not _has("accelerate"):
        raise EosError(f"dtype {dtype} needs bitsandbytes and accelerate: pip install 'eos-platform[large]'")
    if place.type != "cuda":
        raise EosError(f"dtype {dtype} needs a GPU, and the model is to run on {place}")
    from transformers import BitsAndBytesConfig

    if dtype == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
