"""Measuring a profile: the points that were planned, gone on with where it stopped."""

from __future__ import annotations

import json

import pytest
import torch

from eos_platform.bench.profiling import measure
from eos_platform.bench.profiling.drawn import alone, drawn
from eos_platform.bench.profiling.measure import measured
from eos_platform.bench.profiling.plan import MOST, plan
from eos_platform.bench.shapes import random_model
from eos_platform.bench.work import Bench
from eos_platform.common.errors import EosError
from eos_platform.costs.device.predictor import Prediction
from eos_platform.costs.device.profile import DeviceProfile
from eos_platform.operators.spec import Target

GRID, TEXT = (8, 8), 12


@pytest.fixture(scope="module")
def tiny():
    torch.set_num_threads(1)
    return random_model("tiny", torch.device("cpu"))


@pytest.fixture
def points(tiny):
    setup = Bench.of(tiny, GRID, 1, TEXT)
    wanted = plan(setup.target, 64, TEXT, ["eager"], [1], setup.encodes)
    return [one for number, one in enumerate(wanted) if number % 3 == 0 or one.kind == "encode"]


@pytest.mark.parametrize(
    ("modes", "batches"), [(["eager"], [1]), (["eager", "captured"], [1, 16]), (["captured", "compiled"], [1])]
)
def test_every_mode_and_batch_gets_prefills_operators_and_some_held_out(modes, batches):
    wanted = plan(Target(layers=32, grid=(24, 24)), 64, 60, modes, batches)
    assert len(wanted) <= MOST
    for mode in modes:
        for batch in batches:
            mine = [one for one in wanted if (one.mode, one.batch) == (mode, batch)]
            assert sum(one.kind == "prefill" for one in mine) >= 3
            assert sum(one.kind == "operator" and one.held_out for one in mine) >= 2
            assert sum(one.kind == "operator" and not one.held_out for one in mine) >= 2
            assert len({one.length for one in mine if one.kind == "prefill"}) == sum(
                one.kind == "prefill" for one in mine
            )


@pytest.mark.parametrize(("tokens", "sides"), [((24, 24), 3), ((32, 32), 3), ((48, 60), 3), ((12, 12), 1), ((4, 4), 0)])
def test_the_first_steps_of_a_gpu_are_measured_from_both_sides(tokens, sides):
    wanted = plan(Target(layers=32, grid=tokens), 64, 60, ["captured"], [1, 16])
    lengths = {
        batch: {one.length for one in wanted if (one.kind, one.batch) == ("prefill", batch)} for batch in (1, 16)
    }
    assert sum({128 * number, 128 * number + 1} <= lengths[1] for number in range(1, 30)) == sides
    assert {min(lengths[1]), max(lengths[1])} == {min(lengths[16]), max(lengths[16])}


def test_too_many_modes_and_batches_are_refused():
    with pytest.raises(EosError, match="a profile has 50 points; 9 modes at batch sizes would get 5 each: name fewer"):
        plan(Target(layers=8, grid=(8, 8)), 64, 60, ["eager", "captured", "compiled"], [1, 4, 16])


def test_drawn_operators_are_many_and_act_in_the_decoder_alone():
    target = Target(layers=8, grid=(12, 12))
    operators = [drawn(target, 32, seed) for seed in range(40)]
    assert all(map(alone, operators))
    assert len({one.counts for one in operators}) > 30
    assert len({site.selector for one in operators for site in one.sites}) > 5
    assert drawn(target, 32, 7) == operators[7]


def test_a_measurement_that_is_stopped_goes_on_and_what_it_kept_is_used(tiny, points, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "SAVED", 0.0)
    part, told = tmp_path / "p.part", []

    def stop(done, of, what):
        told.append((done, of))
        if done == len(points) + 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(tiny, "tiny", GRID, TEXT, points, part, rounds=2, notify=stop)
    kept = json.loads(part.read_text())["samples"]
    found = measured(tiny, "tiny", GRID, TEXT, points, part, rounds=2, notify=lambda *_: told.append(_[:2]))
    assert told[-1] == (2 * len(points), 2 * len(points))
    assert [point.ms[0] for point in found.points] == [samples[0]["ms"] for samples in kept]
    assert {point.kind for point in found.points} == {"prefill", "operator", "decode", "encode"}
    assert DeviceProfile.load(found.save(tmp_path / "p.json")) == found
    assert Prediction.of(found, "eager", 1).curve(40.0) > 0
    with pytest.raises(
        EosError, match="an unfinished profile of another machine, model or choice of points; delete it"
    ):
        measured(tiny, "tiny", GRID, TEXT, points[1:], part, rounds=2)
