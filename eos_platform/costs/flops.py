"""How many FLOPs a prefill takes, and the compute ratio as a cost: plain arithmetic, the same for whole numbers and for
tensors with gradients.

Counted as ``torch.utils.flop_counter`` counts: matrix products only, a multiply-add is 2, attention over all pairs,
logits of one position. What an operator itself costs (attention rows, similarities, transfers) is included. One
prompt; a batch multiplies every term alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.costs.layers import CHUNK, LayerShape
from eos_platform.costs.shapes import DecoderShape, VisionShape, shape_of, vision_shape_of
from eos_platform.costs.site_flops import opening_flops, question_flops, site_flops, soft_site_flops
from eos_platform.costs.vision_flops import vision_flops
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import CostContext

__all__ = [
    "DecoderShape",
    "FlopsRatio",
    "PlanCost",
    "VisionShape",
    "compute_ratio",
    "layer_flops",
    "prefill_flops",
    "shape_of",
    "soft_compute_ratio",
    "vision_flops",
    "vision_shape_of",
    "whole_model_ratio",
]

Number = TypeVar("Number", float, Tensor)


def layer_flops(shape: DecoderShape, tokens: Number, index: int | None = None) -> Number:
    """One decoder layer over ``tokens`` tokens; without its index, a layer on average."""
    if shape.own:
        if index is None:
            total = sum((_own_flops(layer, tokens) for layer in shape.own[1:]), start=_own_flops(shape.own[0], tokens))
            return total / len(shape.own)
        return _own_flops(shape.own[index], tokens)
    heads, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    linear = shape.hidden * (2 * heads + 2 * keys + 3 * shape.intermediate)
    return 2 * linear * tokens + 4 * heads * tokens * tokens


def _own_flops(layer: LayerShape, tokens: Number) -> Number:
    chunks = tokens / CHUNK if isinstance(tokens, Tensor) else math.ceil(tokens / CHUNK)
    return 2 * layer.token * tokens + 2 * layer.pair * tokens * tokens + 2 * layer.chunk * chunks


@dataclass(frozen=True)
class PlanCost:
    """FLOPs of the language model's prefill of one prompt with an operator, by what they are spent on.

    Attributes:
        logits: of one position.
        opening: what is found once, of what enters the language model.
        sites: what each site in the decoder does and reads.
        layers: each decoder layer over the tokens that enter it.
    """

    logits: float
    opening: float
    sites: tuple[float, ...]
    layers: tuple[float, ...]

    @classmethod
    def of(cls, plan: OperatorPlan, shape: DecoderShape, text_tokens: int) -> PlanCost:
        """The cost of a plan.

        Args:
            plan: of the operator.
            shape: of the decoder, and how many images the prompt holds.
            text_tokens: tokens that are not visual.
        """
        target = plan.operator.target
        if target.frames > 1 and plan.operator.scope == "frame":  # every frame by itself, with whole tokens
            shape = replace(shape, units=shape.units * target.frames)
            return cls.of(plan.of_grid(target.axes[-2:]), shape, text_tokens)
        return cls(
            logits=float(2 * shape.hidden * shape.vocab),
            opening=opening_flops(shape, plan.features, plan.entering, text_tokens),
            sites=tuple(site_flops(shape, planned, text_tokens, target.frames) for planned in plan.decoder),
            layers=tuple(
                layer_flops(shape, length, index) for index, length in enumerate(plan.lengths(text_tokens, shape.units))
            ),
        )

    @property
    def total(self) -> float:
        """All of it."""
        total = self.logits + self.opening
        for site in self.sites:  # not by ``sum``, which rounds otherwise from Python 3.12 on
            total += site
        return total + sum(self.layers)


def prefill_flops(shape: DecoderShape, text_tokens: int, operator: OperatorSpec | None, tokens: int) -> float:
    """The language model's prefill of one prompt.

    Args:
        shape: of the decoder.
        text_tokens: tokens that are not visual.
        operator: what reduces the visual tokens on the way, if anything.
        tokens: visual tokens that arrive, of each unit.

    Raises:
        EosError: the operator is for another number of layers or tokens.
    """
    if operator is None:
        logits = 2 * shape.hidden * shape.vocab
        return float(shape.layers * layer_flops(shape, shape.units * tokens + text_tokens) + logits)
    target = operator.target
    if (target.layers, target.tokens) != (shape.layers, tokens):
        raise EosError(
            f"operator '{operator.name}' is for {target.layers} decoder layers and {target.tokens} visual tokens;"
            f" here are {shape.layers} and {tokens}"
        )
    return PlanCost.of(OperatorPlan.of(operator), shape, text_tokens).total


def compute_ratio(operator: OperatorSpec, shape: DecoderShape, text_tokens: int) -> float:
    """Prefill FLOPs of the language model with the operator, over those without."""
    tokens = operator.target.tokens
    return prefill_flops(shape, text_tokens, operator, tokens) / prefill_flops(shape, text_tokens, None, tokens)


def soft_compute_ratio(
    sites: Sequence[RelaxedSite],
    counts: Sequence[Tensor],
    shape: DecoderShape,
    tokens: int,
    text_tokens: int,
) -> Tensor:
    """The compute ratio of relaxed sites, differentiable in ``counts``.

    A site's own cost fades as it removes fewer tokens: one that removes none is left out when deployed.

    Args:
        sites: in layer order.
        counts: visual tokens left after each.
        shape: of the decoder.
        tokens: visual tokens that arrive.
        text_tokens: tokens that are not visual.
    """
    unreduced = prefill_flops(shape, text_tokens, None, tokens)
    # made on the device: a copy from the host could not be captured
    total = torch.full((), float(2 * shape.hidden * shape.vocab), device=counts[0].device if counts else None)
    if any(site.steering is not None for site in sites):
        total = total + question_flops(shape, text_tokens)
    here = torch.full_like(total, float(tokens))
    after: dict[int, Tensor] = {}
    for site, count in zip(sites, counts, strict=True):
        gone = (here - count).clamp_min(0.0)
        cost = soft_site_flops(shape, site, here, count, text_tokens)
        total = total + cost * gone / (gone + 1)
        here = after[site.layer] = count
    here = torch.full_like(total, float(tokens))
    for layer in range(shape.layers):
        here = after.get(layer, here)
        total = total + layer_flops(shape, shape.units * here + text_tokens, layer)
    return total / unreduced


def whole_model_ratio(operator: OperatorSpec, shape: DecoderShape, vision: VisionShape, text_tokens: int) -> float:
    """The same ratio with vision tower and projector on both sides."""
    tokens = operator.target.tokens
    reduced = prefill_flops(shape, text_tokens, operator, tokens) + vision_flops(vision, operator)
    return reduced / (prefill_flops(shape, text_tokens, None, tokens) + vision_flops(vision))


class FlopsRatio:
    """The compute ratio as a cost, exact for deployed and for relaxed operators."""

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
