"""A rising curve through a few measured points, the same for numbers and for tensors with gradients.

What was measured is brought to the nearest rising values (isotonic regression), then joined by a monotone cubic (PCHIP)
or by straight pieces. Beyond the outermost points the curve goes on straight.

A GPU cuts matrix products into tiles of rows, so that the first token of a tile costs more than those after it: a
prefill of one prompt of 257 tokens takes up to a fifth longer than one of 256. ``Tiles`` says which part of a tile's
time comes with its first token; tensors get the curve without its steps, as a step has no useful gradient.

Legend: k values asked about.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

ROWS = 128  # of a tile, in the products of large GPUs
PART = 0.25  # of a tile's time that its first token brings, where too little was measured to tell
PARTS = (0.0, PART, 0.5)  # that are tried where there is enough
ENOUGH = 5  # points
NARROW = 16  # tokens: narrower steps are not seen
FLATTEST = 1e-3  # of the mean slope: a flat piece would leave a budget without an answer
Joined = Literal["cubic", "straight"]


@dataclass(frozen=True)
class Tiles:
    """Steps of a curve.

    Attributes:
        width: of a step, in what the curve is asked about (tokens of a prompt).
        part: of the rise over a step that comes at its beginning, below 1.
    """

    width: float
    part: float

    def exact(self, value: float) -> float:
        """The value at which a curve without steps is as high; rises strictly."""
        if not self.part:
            return value
        return (1 - self.part) * value + self.part * self.width * math.ceil(value / self.width - 1e-9)

    @property
    def mean(self) -> float:
        """By how much ``exact`` is above its argument, on average over a step."""
        return self.part * self.width / 2


SMOOTH = Tiles(1.0, 0.0)


def step(batch: int) -> float:
    """Tokens of one prompt between the steps of a batch's time on a GPU; 0 where they are too narrow to be seen."""
    width = ROWS / batch
    return width if width >= NARROW else 0.0


@dataclass(frozen=True)
class Curve:
    """Pieces of a cubic, each from its own corner on.

    Attributes:
        at: where the corners are, rising.
        pieces: of each, what goes with the cube, the square, the distance from its corner, and one.
        joined: how.
        tiles: its steps; corners are where the curve without steps has them.
    """

    at: tuple[float, ...]
    pieces: tuple[tuple[float, float, float, float], ...]
    joined: Joined
    tiles: Tiles = SMOOTH
    _on: dict[torch.device, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def through(cls, at: Sequence[float], values: Sequence[float], joined: Joined, tiles: Tiles = SMOOTH) -> Curve:
        """The curve through measured points.

        Args:
            at: rising, two at least.
        """
        from scipy.interpolate import PchipInterpolator

        at = [tiles.exact(one) for one in at]
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
        return cls((float(at[0]), *map(float, at)), tuple(pieces), joined, tiles)

    @classmethod
    def best(cls, at: Sequence[float], values: Sequence[float], width: float = 0.0) -> Curve:
        """Joined in whichever way predicts inner points better that are left out in turn.

        Args:
            width: of the tiles that the device works in; 0: there are none.
        """
        ways: tuple[Joined, ...] = ("cubic", "straight")
        parts = (0.0,) if not width else PARTS if len(at) >= ENOUGH else (PART,)
        every = [(way, Tiles(width or 1.0, part)) for part in parts for way in ways]
        way, tiles = min(every, key=lambda one: left_out(at, values, *one))
        return cls.through(at, values, way, tiles)

    def __call__(self, value: float) -> float:
        """The curve at a number."""
        value = self.tiles.exact(value)
        number = bisect_right(self.at, value, lo=1) - 1
        cube, square, slope, one = self.pieces[number]
        way = value - self.at[number]
        return ((cube * way + square) * way + slope) * way + one

    def soft(self, value_k: Tensor) -> Tensor:
        """The curve without its steps at tensors (k,), differentiable in them."""
        value_k = value_k + self.tiles.mean
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


def left_out(at: Sequence[float], values: Sequence[float], joined: Joined, tiles: Tiles = SMOOTH) -> float:
    """Median relative error at inner points, each predicted from the others; 0 where there are none to leave out."""
    errors = []
    for number in range(1, len(at) - 1):
        others = [index for index in range(len(at)) if index != number]
        curve = Curve.through([at[index] for index in others], [values[index] for index in others], joined, tiles)
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
