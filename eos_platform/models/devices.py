"""Where a model runs."""

from __future__ import annotations

import torch

from eos_platform.errors import EosError


def find_device(name: str | None = None) -> torch.device:
    """The device of that name; default: the GPU if there is one.

    Raises:
        EosError: there is none of that name here.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        told = str(error).strip() or type(error).__name__
        raise EosError(f"device '{name}' cannot be used: {told.splitlines()[0]}") from None
