"""The compute ratio as a cost: prefill FLOPs of the language model with an operator, over those without."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from eos_platform.costs.flops import compute_ratio, soft_compute_ratio
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import CostContext


class FlopsRatio:
    """Exact in both forms, by arithmetic (``flops.py``)."""

    name, unit, label = "compute_ratio", "", "compute ratio"
    relative, deterministic = True, True

    def measure(self, context: CostContext, operator: OperatorSpec | None) -> float:
        """The compute ratio of a deployed operator.

        Raises:
            EosError: the operator is for another number of layers or tokens.
        """
        return 1.0 if operator is None else compute_ratio(operator, context.shape, context.text_tokens)

    def relaxed(self, context: CostContext, sites: Sequence[RelaxedSite], counts: Sequence[Tensor]) -> Tensor:
        """The compute ratio of relaxed sites."""
        return soft_compute_ratio(sites, counts, context.shape, context.target.tokens, context.text_tokens)
