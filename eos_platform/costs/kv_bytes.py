"""Memory of the key-value cache after the prefill of one typical prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import CostContext

HALF = 2  # bytes of a number, where there is no model to ask


class KvBytes:
    """Keys and values of every token, text too, in every layer; a layer of sliding attention keeps its window."""

    name, unit, label = "kv_bytes", "bytes", "KV cache bytes"
    relative, deterministic = False, True

    def measure(self, context: CostContext, operator: OperatorSpec | None) -> float:
        """Bytes with a deployed operator."""
        shape = context.shape
        counts = (context.target.tokens,) * shape.layers if operator is None else operator.counts
        tokens = [shape.units * count + context.text_tokens for count in counts]
        kept = [min(result, most) for result, most in zip(tokens, _windows(context), strict=True)]
        return float(sum(size * result for size, result in zip(_token_bytes(context), kept, strict=True)))

    def relaxed(self, context: CostContext, sites: Sequence[RelaxedSite], counts: Sequence[Tensor]) -> Tensor:
        """Bytes with relaxed sites."""
        # made on the device: a copy from the host could not be captured
        here = torch.full((), float(context.target.tokens), device=counts[0].device if counts else None)
        after, total = {site.layer: count for site, count in zip(sites, counts, strict=True)}, torch.zeros_like(here)
        for layer, (most, size) in enumerate(zip(_windows(context), _token_bytes(context), strict=True)):
            here = after.get(layer, here)
            total = total + size * (context.shape.units * here + context.text_tokens).clamp_max(most)
        return total


def _windows(context: CostContext) -> list[float]:
    """The most tokens that each layer's cache holds after the prefill."""
    layers = context.shape.layers
    if context.model is None:
        return [math.inf] * layers
    config = context.model.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * layers
    return [window - 1 if window and kind == "sliding_attention" else math.inf for kind in kinds]


def _token_bytes(context: CostContext) -> list[int]:
    """Of one token in each layer."""
    shape = context.shape
    size = HALF if context.model is None else context.model.dtype.itemsize
    if shape.own:
        return [size * layer.cached for layer in shape.own]
    return [int(2 * shape.kv_heads * shape.head_dim * size)] * shape.layers
