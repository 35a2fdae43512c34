"""Milliseconds (or joules) of a prefill with an operator, predicted from a device profile.

A layer takes what its sequence's length takes, whatever the other layers see, so that an operator takes the mean over
layers of a curve that is read off prefills of several lengths; what its sites take by themselves is a sum of a few
numbers of their work, with weights that are not negative (least squares, relative to what was measured). Both rise with
every count, so that a budget has one answer.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.costs.device.curve import Curve, step
from eos_platform.costs.device.profile import DeviceProfile, Point
from eos_platform.costs.device.work import BATCHED, COLUMNS, Work, soft_columns
from eos_platform.costs.shapes import DecoderShape
from eos_platform.costs.token_counts import stages
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import OperatorSpec

Of = Literal["ms", "joules"]
LONG, ALIKE = 0.25, 1.1  # of the longest prompt; of the time in a captured graph
ENOUGH = 3  # operators that a batch size is fitted to by itself


@dataclass(frozen=True)
class Prediction:
    """What a profile says of prefills in one mode at one batch size.

    Attributes:
        curve: of the length of all layers' sequences.
        weights: of ``COLUMNS``, for one prompt's work.
    """

    curve: Curve
    weights: tuple[float, ...]

    @classmethod
    def of_decoding(cls, profile: DeviceProfile, mode: str, batch: int) -> Prediction:
        """Of one token, of the lengths of the layers' caches; sites have no part in it.

        Raises:
            EosError: the profile has no decoding in that mode at that batch size.
        """
        points = profile.of("decode", mode, batch)
        if len(points) < 2:
            raise EosError(f"the device profile has no decoding {mode} at batch {batch}")
        curve = Curve.best([point.work.lengths[0] for point in points], [point.time for point in points])
        return cls(curve, (0.0,) * len(COLUMNS))

    @classmethod
    def of(cls, profile: DeviceProfile, mode: str, batch: int, of: Of = "ms") -> Prediction:
        """Fit a profile.

        Raises:
            EosError: it has no such mode or batch size, or its device does not tell this.
        """
        batches = _batches(profile, mode, batch)
        if mode == "eager" and _busy(profile, batch):
            mode, batches = "captured", _batches(profile, "captured", batch)
        curves = {size: _curve(profile, mode, size, of) for size in batches}
        fitted = [point for point in profile.of("operator", mode) if not point.held_out and point.batch in curves]
        own = [point for point in fitted if point.batch == batch]
        if mode == "eager" and len(own) >= ENOUGH:
            fitted = own  # launching kernels takes no time where the device is busy, and all of it where it waits
        return cls(curves[batch], _weights(curves, fitted, batch, of))

    def of_work(self, work: Work) -> float:
        """Of what an operator makes the device do."""
        return _mean(self.curve, work.lengths) + sum(
            weight * column for weight, column in zip(self.weights, work.columns, strict=True)
        )


@dataclass(frozen=True)
class Predictor:
    """Predictions for one model's prompts, of deployed and of relaxed operators; what a fitted cost is to a search.

    Attributes:
        parts: predictions that are added up, and how many times each counts.
        shape: of the decoder.
        arriving: visual tokens before the first site.
        text: tokens that are not visual.
        more: that comes on top, whatever the operator (pictures encoded).
    """

    parts: tuple[tuple[float, Prediction], ...]
    shape: DecoderShape
    arriving: int
    text: float
    more: float = 0.0
    how: ClassVar[str] = "predicted"

    @property
    def unreduced(self) -> float:
        """Of the model left alone."""
        length = self.shape.units * self.arriving + self.text
        return self.more + sum(times * one.curve(length) for times, one in self.parts)

    def predict(self, operator: OperatorSpec | None) -> float:
        """Of a deployed operator.

        Raises:
            EosError: it acts in the vision tower, whose time no profile has.
        """
        if operator is None or not operator.sites:
            return self.unreduced
        plan = OperatorPlan.of(operator)
        if plan.tower or operator.sees_less:
            raise EosError(f"operator '{operator.name}' acts in the vision tower, which device profiles do not cover")
        work = Work.of(plan, self.shape, self.text)
        return self.more + sum(times * one.of_work(work) for times, one in self.parts)

    def relaxed(self, sites: Sequence[RelaxedSite], counts: Sequence[Tensor]) -> Tensor:
        """Of relaxed sites, differentiable in ``counts``."""
        layers = tuple(stages(self.shape.layers, sites))
        # made on the device: a copy from the host could not be captured
        whole = torch.full((), float(self.arriving), device=counts[0].device if counts else None)
        length_k = self.shape.units * torch.stack([whole, *counts]) + self.text
        columns = soft_columns(self.shape, sites, counts, self.arriving, self.text)
        total = torch.full_like(whole, self.more)
        for times, one in self.parts:
            for many, taken in zip(layers, one.curve.soft(length_k), strict=True):
                total = total + times * many / self.shape.layers * taken
            for weight, column in zip(one.weights, columns, strict=True):
                if weight:
                    total = total + times * weight * column
        return total


@dataclass(frozen=True)
class Errors:
    """How far off predictions are on operators that nothing was fitted to, relative to what was measured."""

    mode: str
    batch: int
    operators: int
    median: float
    worst: float
    joined: str
    rank: float | None  # correlation (Spearman), of three operators at least


def errors(profile: DeviceProfile) -> list[Errors]:
    """Of every mode and batch size with operators that were held out."""
    found = []
    for mode, batch in profile.settings():
        held = [point for point in profile.of("operator", mode, batch) if point.held_out]
        if not held:
            continue
        prediction = Prediction.of(profile, mode, batch)
        predicted = [prediction.of_work(point.work) for point in held]
        off = [abs(value / point.time - 1) for value, point in zip(predicted, held, strict=True)]
        rank = rank_correlation(predicted, [point.time for point in held])
        found.append(Errors(mode, batch, len(held), statistics.median(off), max(off), prediction.curve.joined, rank))
    return found


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's; None of fewer than three, or where all are equal."""
    from scipy.stats import spearmanr

    if len(one) < 3 or len(set(one)) == 1 or len(set(other)) == 1:
        return None
    return float(spearmanr(one, other).statistic)


def _batches(profile: DeviceProfile, mode: str, batch: int) -> list[int]:
    known = profile.settings()
    if (mode, batch) not in known:
        have = ", ".join(f"{one} at batch {size}" for one, size in known) or "no prefill at all"
        raise EosError(f"the device profile has {have}; not {mode} at batch {batch}")
    return [size for one, size in known if one == mode]


def _busy(profile: DeviceProfile, batch: int) -> bool:
    """Whether the device works without a break in eager mode too, at all lengths but the short ones.

    Launches then cost no time, as in a captured graph, of which measurements scatter less.
    """
    if ("captured", batch) not in profile.settings():
        return False
    captured, eager = _curve(profile, "captured", batch, "ms"), profile.of("prefill", "eager", batch)
    longest = eager[-1].work.lengths[0]
    times = [(point.time, captured(point.work.lengths[0])) for point in eager if point.work.lengths[0] > LONG * longest]
    return all(one <= ALIKE * other for one, other in times)


def _curve(profile: DeviceProfile, mode: str, batch: int, of: Of) -> Curve:
    points = profile.of("prefill", mode, batch)
    values = [_value(point, of) for point in points]
    if len(points) < 2:
        raise EosError(f"the device profile has {len(points)} prefills {mode} at batch {batch}; two are needed")
    at = [point.work.lengths[0] for point in points]
    # in eager mode launches hide it, unless the device is busy, and then it is as captured
    tiled = profile.machine.kind == "cuda" and mode != "eager"
    return Curve.best(at, values, step(batch) if tiled else 0.0)


def _value(point: Point, of: Of) -> float:
    value = point.time if of == "ms" else point.joules
    if value is None:
        raise EosError("the device profile has no energy: its device does not tell it")
    return value


def _weights(curves: dict[int, Curve], points: Sequence[Point], batch: int, of: Of) -> tuple[float, ...]:
    """Of ``COLUMNS``: what is batched grows with the batch size, what is launched does not."""
    if not points:
        return (0.0,) * len(COLUMNS)
    from scipy.optimize import nnls

    rows, rest = [], []
    for point in points:
        value = _value(point, of)
        rows.append([column / value for column in _scaled(point.work.columns, point.batch)])
        rest.append((value - _mean(curves[point.batch], point.work.lengths)) / value)
    sizes = [max(1e-12, *column) for column in zip(*rows, strict=True)]
    found, _ = nnls([[one / size for one, size in zip(row, sizes, strict=True)] for row in rows], rest)
    weights = [float(weight) / size for weight, size in zip(found, sizes, strict=True)]
    return tuple(_scaled(weights, batch))


def _scaled(columns: Sequence[float], batch: int) -> list[float]:
    return [value * (batch if name in BATCHED else 1) for name, value in zip(COLUMNS, columns, strict=True)]


def _mean(curve: Curve, lengths: Sequence[float]) -> float:
    total = sum(len(list(same)) * curve(length) for length, same in itertools.groupby(lengths))
    return total / len(lengths)


__all__ = ["Errors", "Prediction", "Predictor", "errors", "rank_correlation"]
