"""A rising curve through a few measured points, the same for numbers and for tensors with gradients.

What was measured is brought to the nearest rising values (isotonic regression), then joined by a monotone cubic (PCHIP)
or by straight pieces. Beyond the outermost points the curve goes on straight.

Legend: k values asked about.
"""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

FLATTEST = 1e-3  # of the mean slope: a flat piece would leave a budget without an answer
Joined = Literal["cubic", "straight"]


@dataclass(frozen=True)
class Curve:
    """Pieces of a cubic, each from its own corner on.

    Attributes:
        at: where the corners are, rising.
        pieces: of each, what goes with the cube, the square, the distance from its corner, and one.
        joined: how.
    """

    at: tuple[float, ...]
    pieces: tuple[tuple[float, float, float, float], ...]
    joined: Joined
    _on: dict[torch.device, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def through(cls, at: Sequence[float], values: Sequence[float], joined: Joined) -> Curve:
        """The curve through measured points.

        Args:
            at: rising, two at least.
        """
        from scipy.interpolate import PchipInterpolator

        level = rising(at, values)
        if joined == "cubic" and len(at) > 2:
            inner = PchipInterpolator(at, level).c.T.tolist()
        else:
            inner = [
                [0.0, 0.0, (after - before) / (high - low), before]
                for low, high, before, after in zip(at[:-1], at[1:], level[:-1], level[1:], strict=True)
            ]
        (_, _, slope, value), last = inner[0], inner[-1]
        width = at[-1] - at[-2]
        end = 3 * last[0] * width**2 + 2 * last[1] * width + last[2]
        # a cubic may arrive level at its last point: it goes on as it came on the whole last piece
        end = max(end, (level[-1] - level[-2]) / width)
        pieces = [(0.0, 0.0, slope, value), *map(tuple, inner), (0.0, 0.0, end, level[-1])]
        return cls((float(at[0]), *map(float, at)), tuple(pieces), joined)

    @classmethod
    def best(cls, at: Sequence[float], values: Sequence[float]) -> Curve:
        """Joined in whichever way predicts inner points better that are left out in turn."""
        ways: tuple[Joined, ...] = ("cubic", "straight")
        return min((cls.through(at, values, way) for way in ways), key=lambda one: left_out(at, values, one.joined))

    def __call__(self, value: float) -> float:
        """The curve at a number."""
        number = bisect_right(self.at, value, lo=1) - 1
        cube, square, slope, one = self.pieces[number]
        way = value - self.at[number]
        return ((cube * way + square) * way + slope) * way + one

    def soft(self, value_k: Tensor) -> Tensor:
        """The curve at tensors (k,), differentiable in them."""
        at_p, pieces_p4 = self._tensors(value_k.device)
        number_k = torch.bucketize(value_k.detach(), at_p[1:], right=True)
        way_k = value_k - at_p[number_k]
        cube_k, square_k, slope_k, one_k = pieces_p4[number_k].unbind(1)
        return ((cube_k * way_k + square_k) * way_k + slope_k) * way_k + one_k

    def _tensors(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Made once a device: a copy from the host cannot be captured."""
        if device not in self._on:
            with torch.inference_mode(False):
                self._on[device] = (
                    torch.tensor(self.at, device=device),
                    torch.tensor(self.pieces, device=device),
                )
        return self._on[device]

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_on": {}}


def left_out(at: Sequence[float], values: Sequence[float], joined: Joined) -> float:
    """Median relative error at inner points, each predicted from the others; 0 where there are none to leave out."""
    errors = []
    for number in range(1, len(at) - 1):
        others = [index for index in range(len(at)) if index != number]
        curve = Curve.through([at[index] for index in others], [values[index] for index in others], joined)
        errors.append(abs(curve(at[number]) / values[number] - 1))
    return statistics.median(errors) if errors else 0.0


def rising(at: Sequence[float], values: Sequence[float]) -> list[float]:
    """The rising values nearest to these (isotonic regression, least squares), each piece with some slope."""
    from scipy.optimize import isotonic_regression

    level = isotonic_regression(values).x.tolist()
    span = at[-1] - at[0]
    mean = (level[-1] - level[0]) / span
    least = FLATTEST * mean if mean > 0 else 1e-6 * max(abs(level[0]), 1e-9) / span
    merged = level[:1]
    for number in range(1, len(level)):
        merged.append(max(level[number], merged[-1] + least * (at[number] - at[number - 1])))
    return merged
