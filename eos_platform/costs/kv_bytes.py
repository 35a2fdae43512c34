"""Memory of the key-value cache after the prefill of one typical prompt."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from eos_platform.costs.token_counts import soft_mean_tokens
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import CostContext

HALF = 2  # bytes of a number, where there is no model to ask


class KvBytes:
    """Keys and values of every token, text too, in every layer; exact."""

    name, unit, label = "kv_bytes", "bytes", "KV cache bytes"
    relative, deterministic = False, True

    def measure(self, context: CostContext, operator: OperatorSpec | None) -> float:
        """Bytes with a deployed operator."""
        visual = context.target.tokens if operator is None else operator.mean_tokens
        return _token_bytes(context) * (context.shape.units * visual + context.text_tokens)

    def relaxed(self, context: CostContext, sites: Sequence[RelaxedSite], counts: Sequence[Tensor]) -> Tensor:
        """Bytes with relaxed sites."""
        visual = soft_mean_tokens(context, sites, counts)
        return _token_bytes(context) * (context.shape.units * visual + context.text_tokens)


def _token_bytes(context: CostContext) -> int:
    """Of one token that enters every layer."""
    shape = context.shape
    size = HALF if context.model is None else context.model.dtype.itemsize
    return int(2 * shape.layers * shape.kv_heads * shape.head_dim * size)
