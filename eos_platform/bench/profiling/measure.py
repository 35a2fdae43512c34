"""Measuring a device profile: every point a few times, in turns, so that a machine's moods meet all of them alike.

What has been measured is kept beside the file as it grows, so that a measurement that is stopped goes on.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from eos_platform.bench.profiling.plan import Wanted, longest
from eos_platform.bench.timing import captured, peak_mb
from eos_platform.bench.work import Bench
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import read_text, write_atomic
from eos_platform.costs.device.energy import counter, joules
from eos_platform.costs.device.machine import machine
from eos_platform.costs.device.profile import DeviceProfile, Point, Profiled
from eos_platform.costs.device.work import Work
from eos_platform.costs.shapes import shape_of
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec

ROUNDS = {"cuda": 3, "cpu": 5}
RUNS = {"cuda": 10, "cpu": 3}  # in each round, of which the median counts
PATIENCE = 1.0  # seconds of runs in a round; one is enough of what takes longer, and three on a GPU
FEWEST = 3  # runs in a round on a GPU
SAVED = 2.0  # seconds between writes of what has been measured
Sample = dict[str, float]


def measured(
    model: Any,
    name: str,
    grid: tuple[int, int],
    text: int,
    wanted: Sequence[Wanted],
    part: Path | None = None,
    *,
    rounds: int | None = None,
    notify: Callable[[int, int, str], None] = lambda done, of, what: None,
    clock: Callable[[], float] = time.perf_counter,
) -> DeviceProfile:
    """Measure the points and put the profile together.

    Args:
        model: a Hugging Face model without an operator.
        name: of the model.
        grid: of the visual tokens in a prompt.
        text: tokens of a prompt that are not visual.
        part: where to keep what has been measured; found there, it is not measured again.
        rounds: of all points; default by device.
        notify: is told how many measurements of how many are done, and of what.
        clock: on a CPU, in seconds; ``time.process_time`` does not see what else the machine does meanwhile.

    Raises:
        EosError: ``part`` is of another machine, model or set of points.
    """
    return Points(model, name, grid, text, wanted, part, rounds, clock=clock).run(notify)


def _kind(model: Any) -> str:
    return "cuda" if model.device.type == "cuda" else "cpu"


class Points:
    """The points of one model that are to be measured."""

    def __init__(
        self,
        model: Any,
        name: str,
        grid: tuple[int, int],
        text: int,
        wanted: Sequence[Wanted],
        part: Path | None = None,
        rounds: int | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
        times_alone: bool = False,
    ) -> None:
        """As for ``measured``; ``times_alone``: no energy."""
        self.clock = clock
        self.model, self.grid, self.text, self.part = model, grid, text, part
        self.rounds = rounds or ROUNDS[_kind(model)]
        self.device = model.device
        self.setups: dict[int, Bench] = {}
        self.wanted = list(wanted)
        self.shape = shape_of(model)
        sizes = {key: value for key, value in asdict(self.shape).items() if isinstance(value, int)}
        attention = str(getattr(model.config, "_attn_implementation", ""))
        self.profiled = Profiled(
            name=name,
            dtype=str(model.dtype).removeprefix("torch."),
            attention=attention,
            shape=sizes,
            grid=grid,
            text=text,
        )
        self.machine = machine(self.device)
        self.samples: list[list[Sample]] = [[] for _ in self.wanted]
        self.seconds = self.saved = 0.0
        self.energy = None if times_alone else _counter_or_none(self.device)

    def run(self, notify: Callable[[int, int, str], None]) -> DeviceProfile:
        """Measure what has not been.

        Raises:
            EosError: see ``measured``.
        """
        self.resume()
        total, begun, before = self.rounds * len(self.wanted), time.monotonic(), self.seconds
        with torch.inference_mode():
            for number in range(self.rounds):
                for one, samples in zip(self.wanted, self.samples, strict=True):
                    if len(samples) > number:
                        continue
                    notify(sum(map(len, self.samples)), total, one.about)
                    samples.append(self.sample(one, first=number == 0))
                    self.seconds = before + time.monotonic() - begun
                    self.keep()
        notify(total, total, "done")
        points = tuple(self.point(one, samples) for one, samples in zip(self.wanted, self.samples, strict=True))
        return DeviceProfile(machine=self.machine, model=self.profiled, points=points, seconds=self.seconds)

    def sample(self, one: Wanted, first: bool) -> Sample:
        """One measurement: milliseconds, and in the first round what else the device tells."""
        setup = self.setup(one.batch)
        around, work = self.ways(setup, one)
        with around:
            run = captured(work) if one.mode != "eager" and one.kind != "encode" else work
            found = {"ms": self.time(run)}
            if first and one.kind in ("prefill", "operator"):
                if one.mode == "eager" and self.device.type == "cuda":
                    found["peak_bytes"] = (peak_mb(work, self.device) or 0.0) * 2**20
                if self.energy is not None:
                    found["joules"] = joules(run, self.device, self.energy)
        return found

    def ways(self, setup: Bench, one: Wanted) -> tuple[AbstractContextManager[Any], Callable[[], Any]]:
        """What must be in place while it runs, and what is run."""
        if one.operator is not None:
            return setup.reduced(one.operator, one.mode == "compiled"), setup.prefill
        if one.kind == "encode":
            return nullcontext(), setup.encode
        short = setup.cut(one.length)
        if one.kind == "prefill":
            return nullcontext(), short.prefill
        cache = short.prefill()[1]  # grows by a token with each eager step
        return nullcontext(), lambda: setup.decode(cache)

    def setup(self, batch: int) -> Bench:
        """Prompts with as much text as the longest prefill has."""
        if batch not in self.setups:
            self.setups = {batch: Bench.of(self.model, self.grid, batch, longest(self.text))}
        return self.setups[batch]

    def time(self, work: Callable[[], Any]) -> float:
        """The median of a few runs in a row, after one that does not count."""
        kind = _kind(self.model)
        work()
        if kind == "cuda":
            torch.cuda.synchronize(self.device)
            begun = time.perf_counter()
            work()
            torch.cuda.synchronize(self.device)
            fit = int(PATIENCE / (time.perf_counter() - begun))
            pairs = [
                (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
                for _ in range(min(RUNS[kind], max(FEWEST, fit)))
            ]
            for start, stop in pairs:
                start.record()
                work()
                stop.record()
            torch.cuda.synchronize(self.device)
            return statistics.median(start.elapsed_time(stop) for start, stop in pairs)
        times: list[float] = []
        begun = time.perf_counter()
        while not times or (len(times) < RUNS[kind] and time.perf_counter() - begun < PATIENCE):
            started = self.clock()
            work()
            times.append(1000 * (self.clock() - started))
        return statistics.median(times)

    def work_of(self, operator: OperatorSpec) -> Work:
        """What an operator does on the prompts it is measured on."""
        return Work.of(OperatorPlan.of(operator), self.shape, longest(self.text))

    def point(self, one: Wanted, samples: Sequence[Sample]) -> Point:
        first = samples[0]
        work = Work(lengths=(float(one.length),)) if one.operator is None else self.work_of(one.operator)
        return Point(
            kind=one.kind,
            mode=one.mode,
            batch=one.batch,
            name=one.operator.name if one.operator else "",
            work=work,
            held_out=one.held_out,
            ms=tuple(sample["ms"] for sample in samples),
            peak_bytes=first.get("peak_bytes"),
            joules=first.get("joules"),
        )

    def head(self) -> dict[str, Any]:
        """What a kept measurement must agree with to be gone on from."""
        points = [
            [one.kind, one.mode, one.batch, one.length, one.operator.name if one.operator else ""]
            for one in self.wanted
        ]
        return {
            "machine": self.machine.model_dump(mode="json"),
            "model": self.profiled.model_dump(mode="json"),
            "points": points,
        }

    def resume(self) -> None:
        """Take over what has been measured.

        Raises:
            EosError: of something else, or nobody can read it.
        """
        if self.part is None or not self.part.exists():
            return
        data = strict_json.loads(read_text(self.part, "unfinished device profile"), str(self.part))
        if not isinstance(data, dict) or data.get("head") != self.head():
            raise EosError(
                f"{self.part}: an unfinished profile of another machine, model or choice of points; delete it"
            )
        samples = data.get("samples")
        sound = isinstance(samples, list) and len(samples) == len(self.wanted) and all(map(_sound, samples))
        if not sound or not isinstance(data.get("seconds"), (int, float)):
            raise EosError(f"{self.part}: an unfinished profile that cannot be read; delete it")
        self.samples = [one[: self.rounds] for one in samples or []]
        self.seconds = float(data["seconds"])

    def keep(self) -> None:
        """Write what has been measured, now and then."""
        if self.part is None or time.monotonic() - self.saved < SAVED:
            return
        self.saved = time.monotonic()
        data = {"head": self.head(), "samples": self.samples, "seconds": self.seconds}
        write_atomic(self.part, strict_json.dumps(data))


def _sound(samples: Any) -> bool:
    return isinstance(samples, list) and all(
        isinstance(one, dict) and "ms" in one and all(isinstance(value, float) for value in one.values())
        for one in samples
    )


def _counter_or_none(device: torch.device) -> Callable[[], float] | None:
    try:
        return counter(device)
    except EosError:
        return None
