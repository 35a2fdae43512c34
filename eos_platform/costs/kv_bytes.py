"""Memory of the key-value cache after the prefill of one typical prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from eos_platform.operators.grid import Grid, as_films
from eos_platform.operators.plan import OperatorPlan
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
        kept = [min(length, most) for length, most in zip(_lengths(context, operator), _windows(context), strict=True)]
        return float(sum(size * length for size, length in zip(_token_bytes(context), kept, strict=True)))

    def relaxed(self, context: CostContext, sites: Sequence[RelaxedSite], counts: Sequence[Tensor]) -> Tensor:
        """Bytes with relaxed sites."""
        # made on the device: a copy from the host could not be captured
        here = torch.full((), float(context.target.tokens), device=counts[0].device if counts else None)
        after, total = {site.layer: count for site, count in zip(sites, counts, strict=True)}, torch.zeros_like(here)
        for layer, (most, size) in enumerate(zip(_windows(context), _token_bytes(context), strict=True)):
            here = after.get(layer, here)
            total = total + size * (_units(context) * here + context.text_tokens).clamp_max(most)
        return total


def _lengths(context: CostContext, operator: OperatorSpec | None) -> list[int]:
    """Tokens that each layer's cache gets. Every unit of a prompt keeps whole tokens: its share of its own grid."""
    layers, target = context.shape.layers, context.target
    plan = OperatorPlan.of(operator if operator is not None else OperatorSpec(target=target))
    units: Sequence[tuple[Grid, int]] = context.units or ((target.axes, context.shape.units),)
    if context.units and plan.operator.scope == "film":
        units = as_films(context.units)
    counts = [(many, plan.of_grid(grid).counts) for grid, many in units]
    return [context.text_tokens + sum(many * of_unit[layer] for many, of_unit in counts) for layer in range(layers)]


def _units(context: CostContext) -> float:
    """How many times the target's visual tokens a prompt holds."""
    if not context.units:
        return float(context.shape.units)
    return sum(rows * columns * many for (rows, columns), many in context.units) / float(context.target.tokens)


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
