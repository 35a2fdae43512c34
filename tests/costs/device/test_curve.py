"""Curves through measured points: rising, exact where points rise, the same for numbers and tensors."""

from __future__ import annotations

import itertools
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eos_platform.costs.device.curve import ROWS, Curve, Tiles, left_out, rising, step

AT = (8.0, 20.0, 50.0, 90.0, 160.0)


@pytest.mark.parametrize("joined", ["cubic", "straight"])
def test_what_rises_is_met_and_tensors_say_the_same(joined):
    values = [1.0, 1.5, 4.0, 4.2, 9.0]
    curve = Curve.through(AT, values, joined)
    assert [curve(at) for at in AT] == pytest.approx(values)
    asked = [1.0, 8.0, 9.5, 20.0, 47.1, 90.0, 159.9, 160.0, 400.0]
    asked_k = torch.tensor(asked, dtype=torch.float64)
    assert curve.soft(asked_k).tolist() == pytest.approx([curve(one) for one in asked], rel=1e-6)
    assert pickle.loads(pickle.dumps(curve)) == curve


@given(st.lists(st.floats(0.1, 100), min_size=5, max_size=5), st.sampled_from(["cubic", "straight"]))
def test_whatever_was_measured_the_curve_rises(measured, joined):
    curve = Curve.through(AT, measured, joined)
    assert all(one < other for one, other in itertools.pairwise(curve(float(length)) for length in range(8, 300, 4)))
    assert sum(rising(AT, measured)) == pytest.approx(sum(measured), rel=0.05)


@pytest.mark.parametrize("joined", ["cubic", "straight"])
def test_the_gradient_is_that_of_the_curve(joined):
    curve = Curve.through(AT, [1.0, 1.5, 4.0, 4.2, 9.0], joined)
    value_k = torch.tensor([3.0, 20.5, 77.0, 300.0], requires_grad=True)
    curve.soft(value_k).sum().backward()
    slopes = [(curve(float(value) + 0.01) - curve(float(value) - 0.01)) / 0.02 for value in value_k.detach()]
    assert value_k.grad is not None
    assert value_k.grad.tolist() == pytest.approx(slopes, rel=1e-3)


def test_the_way_of_joining_is_the_one_that_predicts_what_is_left_out():
    straight, bent = [at / 10 for at in AT], [at**2 / 100 for at in AT]
    assert left_out(AT, straight, "straight") == pytest.approx(0.0, abs=1e-9)
    assert Curve.best(AT, bent).joined == "cubic"
    assert left_out(AT, bent, "cubic") < left_out(AT, bent, "straight")


LENGTHS = (30.0, 128.0, 129.0, 256.0, 257.0, 448.0, 666.0)


@pytest.mark.parametrize("part", [0.0, 0.25, 0.5])
def test_steps_are_met_from_both_sides_and_tensors_get_none_of_them(part):
    tiles = Tiles(ROWS, part)
    curve = Curve.best(LENGTHS, [5 + tiles.exact(at) / 50 for at in LENGTHS], step(1))
    assert curve.tiles.part == part
    asked = [float(at) for at in range(8, 900, 3)]
    assert [curve(at) for at in asked] == pytest.approx([5 + tiles.exact(at) / 50 for at in asked], rel=1e-3)
    assert all(one < other for one, other in itertools.pairwise(map(curve, asked)))
    value_k = torch.tensor(asked, requires_grad=True)
    soft_k = curve.soft(value_k)
    mean = [5 + (at + part * ROWS / 2) / 50 for at in asked]
    assert soft_k.tolist() == pytest.approx(mean, rel=1e-3)
    soft_k.sum().backward()
    assert value_k.grad is not None
    assert (value_k.grad > 0).all()


def test_steps_of_a_large_batch_are_too_narrow_to_be_seen():
    assert [step(batch) for batch in (1, 8, 9, 16)] == [128.0, 16.0, 0.0, 0.0]
