"""What a feature is usually worth at each place of the picture, and is divided by, so that what stands out is the rest.

Attention of text favours some places whatever is there (those nearest to it, above all); a prior measured over many
pictures says how much (D2Pruner, arXiv 2512.19443). Only the proportions of its numbers matter.

Legend: n places of the grid.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from eos_platform.operators.grid import Grid, stacked
from eos_platform.operators.rules import Spec

if TYPE_CHECKING:  # an operator's file is read where nobody should wait for torch
    from collections.abc import Sequence

    from torch import Tensor

BYTES = 2  # of a number
LEAST = 1e-2  # of the mean: what is divided by is never less


class Prior(Spec):
    """Numbers of one feature, one a place of the target's grid in raster order, with mean 1; base64 of float16
    (little-endian)."""

    feature: str
    values: str = Field(repr=False)

    @model_validator(mode="after")
    def _holds_numbers(self) -> Prior:
        try:
            numbers = self.numbers
        except (binascii.Error, ValueError, struct.error):
            raise ValueError("values are not base64 of float16 numbers") from None
        if not any(numbers) or not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise ValueError("values hold a number that is not finite, or below 0, or none above it")
        return self

    @classmethod
    def of(cls, feature: str, numbers: Sequence[float]) -> Prior:
        """Pack numbers, at least one above 0, one a place.

        Raises:
            ValueError: none is above 0.
        """
        mean = sum(numbers) / max(1, len(numbers))
        if not mean > 0:
            raise ValueError("a prior needs a number above 0")
        return cls(feature=feature, values=_packed([number / mean for number in numbers]))

    @property
    def numbers(self) -> tuple[float, ...]:
        """One a place."""
        data = base64.b64decode(self.values, validate=True)
        return struct.unpack(f"<{len(data) // BYTES}e", data)

    def resampled(self, old: Grid, new: Grid) -> Prior:
        """The same over another grid, between places by straight lines; of a film, over the rows of all its frames."""
        old, new = stacked(old), stacked(new)
        if old == new:
            return self
        numbers, rows, columns = self.numbers, _lines(old[0], new[0]), _lines(old[1], new[1])
        made = [
            sum(a * b * numbers[row * old[1] + column] for row, a in down for column, b in across)
            for down in rows
            for across in columns
        ]
        return Prior.of(self.feature, made)

    def divides(self, feature_bn: Tensor, origin_bn: Tensor) -> Tensor:
        """A feature, each token's divided by what is usual where it stands.

        Args:
            feature_bn: of the tokens present.
            origin_bn: raster index of each in the grid.
        """
        from eos_platform.operators.steer import constants

        (usual_1n,) = constants(self.values, 1, feature_bn.device)
        return feature_bn / usual_1n[0][origin_bn].to(feature_bn.dtype).clamp_min(LEAST)


def _packed(numbers: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}e", *numbers)).decode()


def _lines(old: int, new: int) -> list[list[tuple[int, float]]]:
    """For each of ``new`` places side by side, the one or two of ``old`` it lies between, and their weights."""
    made = []
    for place in range(new):
        at = min(max((place + 0.5) * old / new - 0.5, 0.0), old - 1.0)
        low = int(at)
        made.append([(low, 1 - at + low), *([(low + 1, at - low)] if at > low else [])])
    return made
