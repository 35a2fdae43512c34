"""What only a GPU tells of itself: the memory it held at most, and the energy it took."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.costs.device.capture import captured
from eos_platform.costs.device.energy import counter, joules
from eos_platform.costs.device.predictor import Prediction, Predictor
from eos_platform.costs.device.profile import DeviceProfile
from eos_platform.costs.measured.run import model_of, prefilling
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import CostContext


class PeakBytes:
    """Held at most during a prefill of a batch, beside weights and inputs; its cache is in it."""

    name, unit, label = "peak_bytes", "bytes", "peak memory bytes"
    relative, deterministic = False, False

    def measure(self, context: CostContext, operator: OperatorSpec | None) -> float:
        """Bytes with a deployed operator.

        Raises:
            EosError: the model is on no CUDA device.
        """
        device = model_of(self.name, context).device
        if device.type != "cuda":
            raise EosError(f"{self.name} is told by CUDA devices; the model is on {device.type}")
        with prefilling(self.name, context, operator) as work:
            work()  # what is made once is no cost of a prefill
            torch.cuda.synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
            work()
            torch.cuda.synchronize(device)
            return float(torch.cuda.max_memory_allocated(device) - before)

    def relaxed(self, context: CostContext, sites: Sequence[RelaxedSite], counts: Sequence[Tensor]) -> None:
        """None: it is measured."""


class EnergyJ:
    """Of the prefill of one prompt of a batch, by the GPU's own counter; what it takes when idle is in it."""

    name, unit, label = "energy_j", "J", "energy J"
    relative, deterministic = False, False

    def measure(self, context: CostContext, operator: OperatorSpec | None) -> float:
        """Joules with a deployed operator.

        Raises:
            EosError: the device has no counter that can be read.
        """
        device = model_of(self.name, context).device
        read = counter(device)
        with prefilling(self.name, context, operator) as work:
            run = captured(work) if context.setting.mode == "captured" else work
            return joules(run, device, read) / context.setting.batch

    def predictor(self, context: CostContext, profile: DeviceProfile) -> Predictor:
        """From a device profile.

        Raises:
            EosError: its device does not tell.
        """
        mode, batch = context.setting.mode, context.setting.batch
        parts = ((1 / batch, Prediction.of(profile, mode, batch, "joules")),)
        return Predictor(parts, context.shape, context.target.tokens, context.text_tokens)

    def relaxed(self, context: CostContext, sites: Sequence[RelaxedSite], counts: Sequence[Tensor]) -> None:
        """None: it is measured."""
