"""A profile of a made-up device, whose times follow from a formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eos_platform.bench.profiling.drawn import drawn
from eos_platform.bench.profiling.plan import plan
from eos_platform.costs.device.machine import Machine
from eos_platform.costs.device.profile import DeviceProfile, Point, Profiled
from eos_platform.costs.device.work import COLUMNS, Work
from eos_platform.costs.shapes import DecoderShape
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import Target

SHAPE = DecoderShape(layers=8, hidden=64, heads=4, kv_heads=2, head_dim=16, intermediate=128, vocab=100)
TARGET = Target(layers=8, grid=(12, 12))
TEXT = 20
HERE = Machine(name="Made-up 9000", kind="cuda", memory=80_000_000_000, driver="1", torch="2", transformers="5")
SITE = {
    "sites": 0.05,
    "walks": 0.002,
    "picks": 0.0004,
    "asks": 0.1,
    "reads": 0.04,
    "moves": 0.03,
    "gflops": 0.2,
    "mtokens": 0.5,
}


def layer(length: float) -> float:
    return 0.1 + 0.002 * length + 5e-6 * length**2


def takes(work: Work, batch: int) -> float:
    """Milliseconds on the made-up device: layers, and sites of which products grow with the batch."""
    own = sum(
        SITE[name] * column * (batch if name in ("gflops", "mtokens") else 1)
        for name, column in zip(COLUMNS, work.columns, strict=True)
    )
    return batch * sum(map(layer, work.lengths)) + own


@pytest.fixture(scope="session")
def made_up() -> DeviceProfile:
    return profile_for(SHAPE, TARGET)


def profile_for(shape: DecoderShape, target: Target) -> DeviceProfile:
    points = []
    for one in plan(target, shape.hidden, TEXT, ["eager", "captured"], [1, 16]):
        work = Work(lengths=(float(one.length),)) if one.operator is None else work_of(one.operator, shape)
        whole = work if one.operator else Work(lengths=(float(one.length),) * shape.layers)
        times = {"decode": 1 + 1e-3 * one.length, "encode": 3.0 * one.batch}.get(one.kind) or takes(whole, one.batch)
        points.append(
            Point(
                kind=one.kind,
                mode=one.mode,
                batch=one.batch,
                name=one.operator.name if one.operator else "",
                work=work,
                held_out=one.held_out,
                ms=(times,),
                joules=times / 10 if one.kind in ("prefill", "operator") else None,
            )
        )
    sizes = {name: value for name, value in vars(shape).items() if isinstance(value, int)}
    model = Profiled(name="m", dtype="bfloat16", attention="sdpa", shape=sizes, grid=target.grid, text=TEXT)
    return DeviceProfile(machine=HERE, model=model, points=tuple(points), seconds=60.0)


def work_of(operator: object, shape: DecoderShape = SHAPE) -> Work:
    return Work.of(OperatorPlan.of(operator), shape, TEXT)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def unseen() -> Callable[[int], Work]:
    return lambda seed: work_of(drawn(TARGET, 64, 1000 + seed))
