"""Checks of operators that were made for other models."""

from __future__ import annotations

from collections.abc import Iterator

from eos_platform.models.adapters import family_of
from eos_platform.models.adapters.target import target_of
from eos_platform.models.conformance.registry import Checks
from eos_platform.models.conformance.runs import same_as_uncached
from eos_platform.models.conformance.subjects import built
from eos_platform.models.conformance.zoo import Sample, prompts
from eos_platform.models.runtime.attach import attached
from eos_platform.operators.rescale import rescale
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target

CHECKS = Checks()


@CHECKS.check("rescaled")
def rescaled(sample: Sample) -> int:
    """Operators made for a model of other depth and grid apply, once rescaled."""
    model, tried = built(sample), 0
    target = target_of(model)
    inputs = prompts(sample, [[sample.sizes[0]], [sample.sizes[-1]]], (3, 5))
    for foreign in (Target(layers=32, grid=(24, 24)), Target(layers=8, grid=(6, 9)), Target(layers=3, grid=(2, 2))):
        for operator in _made_for(foreign):
            fitted = rescale(operator, target, positions=family_of(model).axes == 1).operator
            with attached(model, fitted):
                same_as_uncached(sample, model, inputs)
            tried += 1
    return tried


def _made_for(target: Target) -> Iterator[OperatorSpec]:
    n, last = target.tokens, target.layers - 1
    sites = (
        SiteSpec(layer=0, keep=max(3, n // 2), score={"norm": 1.0}, important=2),
        SiteSpec(layer=last, keep=max(2, n // 8), score={"last_text": 1.0}, summary=n > 4),
    )
    yield OperatorSpec(target=target, sites=sites)
    moved = SiteSpec(layer=last // 2, keep=n // 2, score={"mean_text": 1.0}, positions="renumber")
    yield OperatorSpec(target=target, sites=(moved,))
