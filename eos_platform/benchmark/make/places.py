"""Where times are taken: at true size on a GPU, of a bundled model itself on a CPU.

The bundled models are too small for their times to say much about a GPU. There an operator is carried over to the shape
of a LLaVA-1.5-7B by the shares of layers and tokens that it has (``operators/rescale.py``). Learned directions are
repeated up to that width: they rank nothing there, and are as much work as learned ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from eos_platform.bench.profiling.measure import Points
from eos_platform.bench.profiling.plan import Wanted, longest, plan
from eos_platform.bench.shapes import load
from eos_platform.bench.work import Bench
from eos_platform.costs.device.predictor import Prediction
from eos_platform.costs.device.profile import DeviceProfile, Mode
from eos_platform.costs.device.work import Work
from eos_platform.costs.shapes import DecoderShape
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.rescale import rescale
from eos_platform.operators.site import SiteSpec
from eos_platform.operators.spec import OperatorSpec, Target
from eos_platform.operators.steering import Steering

AT_ONCE, ROUNDS = 4, 2  # operators measured in turns, and how often


@dataclass(frozen=True)
class Place:
    """What is timed, and how.

    Attributes:
        shape: random weights at the size of a model; empty: ``model``.
        model: a bundled one.
        mode: how it runs.
        batch: prompts at once.
        text: tokens of a prompt that are not visual.
        vision_layers: of the shape.
        clock: on a CPU.
    """

    shape: str
    model: str
    mode: Mode
    batch: int
    text: int
    vision_layers: int
    clock: Callable[[], float] = time.perf_counter

    @property
    def name(self) -> str:
        """Of the model."""
        return self.shape or self.model


# what other work on the machine does is not in the time of this process on its one core
PLACES = {
    "cuda": Place("llava-1.5-7b", "", "captured", 1, 60, 23),
    "cpu": Place("", "bundled-small", "eager", 16, 9, 3, time.process_time),
}


def carried(operator: OperatorSpec, target: Target, width: int) -> OperatorSpec:
    """An operator on a model of another size, with directions of its width.

    Raises:
        EosError: a site has no place there.
    """
    same = operator.target.grid == target.grid and operator.target.layers == target.layers
    moved = operator if same else rescale(operator, target, probes=True).operator
    return moved.model_copy(update={"sites": tuple(_widened(site, width) for site in moved.sites)})


def _widened(site: SiteSpec, width: int) -> SiteSpec:
    if not site.probe or len(site.probe) == width:
        return site
    times = -(-width // len(site.probe))
    steering = site.steering
    if steering is not None:
        steering = Steering.of(*(matrix_kd.repeat(1, times)[:, :width] for matrix_kd in steering.tensors()))
    return site.model_copy(update={"probe": (site.probe * times)[:width], "steering": steering})


class Predicted:
    """Milliseconds of a prefill by a device profile, at the size that it is of."""

    def __init__(self, profile: DeviceProfile, place: Place) -> None:
        """
        Raises:
            EosError: the profile has no such mode or batch size.
        """
        names = DecoderShape.__dataclass_fields__
        sizes = {name: value for name, value in profile.model.shape.items() if name in names}
        self.shape = DecoderShape(**sizes)  # type: ignore[arg-type]
        self.target = Target(
            layers=self.shape.layers,
            grid=profile.model.grid,
            model=profile.model.name,
            vision_layers=place.vision_layers,
        )
        self.text, self.prediction = longest(place.text), Prediction.of(profile, place.mode, place.batch)

    def of(self, operator: OperatorSpec | None) -> float | None:
        """Of one operator; None: it acts in the vision tower, which no profile covers."""
        if operator is None:
            return self.prediction.curve(self.shape.units * self.target.tokens + self.text)
        plan = OperatorPlan.of(carried(operator, self.target, self.shape.hidden))
        if plan.tower or plan.operator.sees_less:
            return None
        return self.prediction.of_work(Work.of(plan, self.shape, self.text))


def measured(
    place: Place, operators: Sequence[tuple[str, OperatorSpec]], device: str, until: float
) -> Iterator[tuple[str, float]]:
    """Milliseconds of operators at a place, a few in turns.

    Args:
        operators: a name of each, and itself; as many as time allows.
        device: that the place is on.
        until: of ``time.monotonic``, after which nothing more is begun.

    Yields:
        The name of each, and its median.
    """
    model, grid = load(place.shape or None, place.model or None, torch.device(device))[1:]
    first = Bench.of(model, grid, 1, place.text)
    target, width = first.target, first.x_bsd.shape[-1]
    for start in range(0, len(operators), AT_ONCE):
        if time.monotonic() > until:
            return
        some = operators[start : start + AT_ONCE]
        wanted = [Wanted("operator", place.mode, place.batch, operator=carried(one, target, width)) for _, one in some]
        points = Points(model, place.name, grid, place.text, wanted, None, ROUNDS, clock=place.clock, times_alone=True)
        found = points.run(lambda done, of, what: None).points
        yield from ((name, point.time) for (name, _), point in zip(some, found, strict=True))


def profile(place: Place, device: str, path: Path) -> DeviceProfile:
    """The device profile of a place; one that was stopped goes on."""
    model, grid = load(place.shape or None, place.model or None, torch.device(device))[1:]
    first = Bench.of(model, grid, 1, place.text)
    wanted = plan(first.target, first.x_bsd.shape[-1], place.text, [place.mode], [place.batch], False)
    points = Points(
        model, place.name, grid, place.text, wanted, path.with_suffix(".part"), clock=place.clock, times_alone=True
    )
    found = points.run(lambda done, of, what: None)
    found.save(path)
    path.with_suffix(".part").unlink(missing_ok=True)
    return found
