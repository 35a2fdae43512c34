"""Numbers of visual tokens as costs: the mean over decoder layers, and those left after the last site."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import CostContext


def stages(layers: int, sites: Sequence[RelaxedSite]) -> Iterator[int]:
    """Decoder layers before the first site, then from each site to the next; of two at a layer, the first has none."""
    starts = [*(site.layer for site in sites), layers]
    yield starts[0]
    yield from (after - before for before, after in itertools.pairwise(starts))


def soft_mean_tokens(context: CostContext, sites: Sequence[RelaxedSite], counts: Sequence[Tensor]) -> Tensor:
    """Mean visual tokens entering the decoder layers, differentiable in ``counts``."""
    before, *after = stages(context.shape.layers, sites)
    # made on the device: a copy from the host could not be captured
    total = torch.full((), float(before * context.target.tokens), device=counts[0].device if counts else None)
    for layers, count in zip(after, counts, strict=True):
        total = total + layers * count
    return total / context.shape.layers


class MeanTokens:
    """Visual tokens entering a decoder layer, mean over layers: what papers on token reduction report."""

    name, unit, label = "mean_tokens", "tokens", "mean tokens"
    relative, deterministic = False, True

    def measure(self, context: CostContext, operator: OperatorSpec | None) -> float:
        """Of a deployed operator."""
        return float(context.target.tokens) if operator is None else operator.mean_tokens

    def relaxed(self, context: CostContext, sites: Sequence[RelaxedSite], counts: Sequence[Tensor]) -> Tensor:
        """Of relaxed sites."""
        return soft_mean_tokens(context, sites, counts)


class TokensLeft:
    """Visual tokens after the last site."""

    name, unit, label = "tokens_left", "tokens", "tokens left"
    relative, deterministic = False, True

    def measure(self, context: CostContext, operator: OperatorSpec | None) -> float:
        """Of a deployed operator."""
        return float(context.target.tokens if operator is None else operator.tokens_left)

    def relaxed(self, context: CostContext, sites: Sequence[RelaxedSite], counts: Sequence[Tensor]) -> Tensor:
        """Of relaxed sites."""
        return counts[-1] if counts else torch.full((), float(context.target.tokens))
