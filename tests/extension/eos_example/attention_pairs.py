"""A cost: how many pairs of tokens attention compares in a decoder layer, on average over layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eos_platform.costs.token_counts import stages
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import CostContext


def _pairs(context: CostContext, visual: Any) -> Any:
    """Of one layer: every token, text too, with every other."""
    return (context.shape.units * visual + context.text_tokens) ** 2


class AttentionPairs:
    """Exact, and differentiable in the counts; falls with the square of what is removed."""

    name, unit, label = "attention_pairs", "pairs", "attention pairs"
    relative, deterministic = False, True

    def measure(self, context: CostContext, operator: OperatorSpec | None) -> float:
        """Of a deployed operator; None: of the unreduced model."""
        counts = (context.target.tokens,) if operator is None else operator.counts
        return sum(float(_pairs(context, count)) for count in counts) / len(counts)

    def relaxed(self, context: CostContext, sites: Sequence[Any], counts: Sequence[Tensor]) -> Tensor:
        """Of relaxed sites with soft counts."""
        before, *after = stages(context.shape.layers, sites)
        device = counts[0].device if counts else None
        total = torch.full((), float(before * _pairs(context, context.target.tokens)), device=device)
        for layers, count in zip(after, counts, strict=True):
            total = total + layers * _pairs(context, count)
        return total / context.shape.layers
