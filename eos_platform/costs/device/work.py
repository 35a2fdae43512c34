"""What a prefill with an operator makes a device do: the length of each layer's sequence, and the work of its sites.

A site's work is told in a few numbers that any selector has, so that a site nobody timed is predicted from others.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from eos_platform.costs.shapes import DecoderShape
from eos_platform.costs.site_flops import opening_flops, site_flops, soft_site_flops
from eos_platform.operators.plan import FROM_LAYER, OperatorPlan
from eos_platform.operators.relaxed.site import RelaxedSite

Number = TypeVar("Number", float, Tensor)
# of a site: itself; picks that one kernel makes one after another; operations launched by picks one after another;
# reading a layer's projections; features its score is mixed from; moving what is dropped; products, and numbers that
# are touched, of one prompt
COLUMNS = ("sites", "walks", "picks", "asks", "reads", "moves", "gflops", "mtokens")
BATCHED = ("gflops", "mtokens")  # as many times as there are prompts
WALKED = "diverse_topk"  # picks token after token, in one kernel
# operations for each pick of the others that do
LAUNCHED = {"farthest": 10, "dpp": 23, "coverage": 25, "suppress": 13, "max_sum": 7}


class Work(BaseModel):
    """Of one prompt.

    Attributes:
        lengths: of the sequence in each layer, text too.
        columns: in the order of ``COLUMNS``, summed over the sites at work.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    lengths: tuple[float, ...] = Field(min_length=1, max_length=10_000)
    columns: tuple[float, ...] = Field(default=(0.0,) * len(COLUMNS), min_length=len(COLUMNS), max_length=len(COLUMNS))

    @classmethod
    def of(cls, plan: OperatorPlan, shape: DecoderShape, text: float) -> Work:
        """The work of a deployed operator.

        Args:
            text: tokens that are not visual.
        """
        total = [0.0] * len(COLUMNS)
        total[COLUMNS.index("gflops")] += opening_flops(shape, plan.features, plan.entering, math.ceil(text)) / 1e9
        for planned in plan.decoder:
            if not planned.active:
                continue
            site, tokens = planned.site, planned.incoming
            flops = site_flops(shape, planned, math.ceil(text), plan.operator.target.frames)
            walks, picks = _picks(site.selector, float(site.keep - site.important))
            moves = float(site.transfer.gamma > 0)
            reads = _reads(len(site.score), bool(site.probe), site.steering is not None)
            for column, value in enumerate(
                _columns(shape, planned.features, float(tokens), walks, picks, reads, moves, flops)
            ):
                total[column] += value
        lengths = tuple(float(length) for length in plan.lengths(math.ceil(text), shape.units))
        return cls(lengths=lengths, columns=tuple(total))


def soft_columns(
    shape: DecoderShape, sites: Sequence[RelaxedSite], counts: Sequence[Tensor], arriving: int, text: float
) -> list[Any]:
    """``Work.columns`` of relaxed sites, differentiable in ``counts``; what a site costs fades as it removes less."""
    total: list[Any] = [0.0] * len(COLUMNS)
    # made on the device: a copy from the host could not be captured
    here = torch.full((), float(arriving), device=counts[0].device if counts else None)
    for site, count in zip(sites, counts, strict=True):
        gone = (here - count).clamp_min(0.0)
        acts = gone / (gone + 1)
        walks, picks = _picks(site.selector, count)
        flops = soft_site_flops(shape, site, here, count, math.ceil(text))
        one = torch.ones_like(count)
        reads = one * _reads(len(site.features), site.probe is not None, site.steering is not None)
        for column, value in enumerate(_columns(shape, site.features, here, walks, picks, reads, one, flops)):
            total[column] = total[column] + acts * value
        here = count
    return total


def _picks(selector: str, count: Number) -> tuple[Number, Number]:
    """Picks in one kernel, and operations launched by picks, of a selector that keeps so many."""
    return count * float(selector == WALKED), count * float(LAUNCHED.get(selector, 0))


def _columns(
    shape: DecoderShape,
    features: Collection[str],
    tokens: Number,
    walks: Number,
    picks: Number,
    reads: Number,
    moves: Number,
    flops: Number,
) -> tuple[Any, ...]:
    asks = float(bool(set(FROM_LAYER) & set(features)))
    return 1.0, walks, picks, asks, reads, moves, flops / 1e9, shape.units * tokens * shape.hidden / 1e6


def _reads(features: int, probed: bool, steered: bool) -> float:
    """What a score is mixed from: features, a probe, and what turns it, which is found in two steps."""
    return float(features + probed + 2 * steered)
