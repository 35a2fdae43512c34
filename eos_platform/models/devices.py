"""Where a model runs."""

from __future__ import annotations

import torch

from eos_platform.boundary import words_of
from eos_platform.errors import EosError, shown


def find_device(name: str | None = None) -> torch.device:
    """The device of that name; default: the GPU if there is one.

    Raises:
        EosError: there is none of that name here.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        raise EosError(f"device {shown(name)} cannot be used: {words_of(error)}") from None
