"""Hand-designed operators at a compute ratio somebody else reached: comparisons are fair at equal compute only."""

from __future__ import annotations

from eos_platform.errors import EosError
from eos_platform.models.compute import DecoderShape, compute_ratio
from eos_platform.operators.designs import Design, get_design
from eos_platform.operators.spec import OperatorSpec, Target


def match(design: Design | str, ratio: float, target: Target, shape: DecoderShape, text_tokens: int) -> OperatorSpec:
    """The design at the largest token count that costs no more than ``ratio``.

    At the layer its authors chose if any count is cheap enough there, else at the next one it allows (FastV: before
    the language model).

    Raises:
        EosError: even its cheapest form costs more, or ``ratio`` is not a positive number.
    """
    design = get_design(design) if isinstance(design, str) else design
    if not ratio > 0:
        raise EosError(f"a compute ratio to match must be above 0, got {ratio}")
    cheapest = float("inf")
    for build in design.candidates(target):
        # every count is tried, as the operator's own cost need not fall with it (fewer tokens can take more rounds)
        for keep in range(target.tokens, 0, -1):
            operator = build(keep)
            cost = float(compute_ratio(operator, shape, text_tokens))
            if cost <= ratio:
                return operator
            cheapest = min(cheapest, cost)
    raise EosError(
        f"design '{design.name}' cannot reach compute ratio {ratio:g} here: {cheapest:.4f} is the smallest it has"
    )
