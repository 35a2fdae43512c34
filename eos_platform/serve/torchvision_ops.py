"""A torchvision whose kernels were built for another torch, made importable: vLLM wants its Python parts alone.

torchvision from PyPI beside a torch for CPUs ends in "operator torchvision::nms does not exist", and with it every
import of transformers that prepares pictures. Here such operators are declared just before they would be missed, and
only if they are. An environment in which vLLM is to run so says it at its own start, in a file ``eos-torchvision.pth``
among its packages (``.ci/vllm.sh`` writes it): ``import eos_platform.serve.torchvision_ops as ops; ops.install()``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from typing import Any

OPERATORS = ("nms", "qnms")  # of which it says more whether or not there are kernels
MISSES_IT = "torchvision._meta_registrations"
_KEPT: list[Any] = []  # what a library declares goes when it goes


class Declares:
    """Looks on while modules are imported."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        """Never finds anything; declares the operator when torchvision is about to say more about it."""
        if name == MISSES_IT and not _KEPT:
            import torch

            library = torch.library.Library("torchvision", "FRAGMENT")
            for operator in OPERATORS:
                if not hasattr(torch.ops.torchvision, operator):
                    library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _KEPT.append(library)
        return None


def install() -> None:
    """Look on from now on; once, however often."""
    if not any(isinstance(one, Declares) for one in sys.meta_path):
        sys.meta_path.insert(0, Declares())
