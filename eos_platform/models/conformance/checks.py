"""The checks of the conformance suite, in the order of its matrix."""

from __future__ import annotations

from eos_platform.models.conformance import attachment, generation, planning, relaxation, rescaling, rows, ways
from eos_platform.models.conformance.registry import Check

CHECKS: dict[str, Check] = {
    **generation.CHECKS,
    **ways.CHECKS,
    **attachment.CHECKS,
    **rescaling.CHECKS,
    **planning.CHECKS,
    **rows.CHECKS,
    **relaxation.CHECKS,
}
