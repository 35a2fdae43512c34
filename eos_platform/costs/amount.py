"""What an operator costs, and how that is known: computed, measured here, or predicted for a device elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from eos_platform.costs.device.known import elsewhere, predictor_of
from eos_platform.costs.registry import measure
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import Cost, CostContext

Source = Literal["computed", "measured", "predicted"]


@dataclass(frozen=True)
class Amount:
    """A cost of a deployed operator.

    Attributes:
        value: in the cost's unit.
        source: how it is known.
        device: that it is predicted for; empty where it is not.
    """

    value: float
    source: Source
    device: str = ""

    @property
    def mark(self) -> str:
        """What tables put behind a value: nothing where it was computed or measured."""
        return f"predicted for {self.device}" if self.source == "predicted" else ""


def amount(cost: Cost, context: CostContext, operator: OperatorSpec | None) -> Amount:
    """The cost of a deployed operator (None: of the unreduced model).

    Where a device profile is given and its device is not the one the model is on, what cannot be computed is predicted;
    else it is measured.

    Raises:
        EosError: it cannot be had here.
    """
    if cost.deterministic:
        return Amount(measure(cost, context, operator), "computed")
    device = elsewhere(context)
    if device:
        predictor = predictor_of(cost, context)
        assert predictor is not None
        return Amount(predictor.predict(operator), "predicted", device)
    return Amount(measure(cost, context, operator), "measured")
