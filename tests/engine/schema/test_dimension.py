"""One field's values: bounds to the digit, the points of each kind, and the way to Optuna and back."""

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial
from pydantic import ValidationError

from eos_platform.engine.schema.conditions import grid_size
from eos_platform.engine.schema.dimension import Dimension


def of(**written):
    return Dimension.model_validate(written)


@pytest.mark.parametrize(
    ("written", "points"),
    [
        ({"choice": [3, "a", [1, 2]]}, [3, "a", "[1, 2]"]),
        ({"int": [2, 9]}, [2, 3, 4, 5, 6, 7, 8, 9]),
        ({"int": [2, 9], "step": 3}, [2, 5, 8]),
        ({"int": [2, 8], "step": 3}, [2, 5, 8]),
        ({"float": [0.1, 0.4], "step": 0.1}, [0.1, 0.2, 0.3, 0.4]),
        ({"float": [0.1, 0.39], "step": 0.1}, [0.1, 0.2, 0.3]),
        ({"float": [0.5, 0.5]}, [0.5]),
        ({"float": [0.5, 0.5], "step": 0.2}, [0.5]),
        ({"float": [0.1, 0.4]}, None),
    ],
)
def test_points(written, points):
    found = of(**written).points
    assert (found if found is None else list(found)) == (points if points is None else pytest.approx(points))


def test_a_grid_is_counted_no_further_than_ten_thousand_steps():
    assert len(of(float=[0.0, 1.0], step=1e-4).points or ()) == 10_001
    assert len(of(float=[0.0, 1.0], step=1e-6).points or ()) == 10_001
    many = {"a": of(choice=list(range(5000))), "b": of(choice=[1, 2, 3, 4], when={"a": list(range(5000))})}
    assert 10_000 < grid_size(many) <= 10_004


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({}, "exactly one of"),
        ({"int": [0, 1], "choice": [1]}, "exactly one of"),
        ({"choice": []}, "at least 1 item"),
        ({"choice": [1], "step": 1}, "not to choice"),
        ({"float": [0.2, 0.1]}, "low end 0.2 is above the high end 0.1"),
        ({"float": [0.1, float("inf")]}, "finite"),
        ({"float": [float("nan"), 1.0]}, "finite"),
        ({"float": [0.0, 1.0], "log": True}, "starts above 0, not at 0.0"),
        ({"float": [0.1, 1.0], "log": True, "step": 0.1}, "log and step cannot be combined"),
        ({"int": [1, 9], "log": True, "step": 2}, "log and step cannot be combined"),
        ({"int": [1, 9], "step": 1.5}, "whole number, not 1.5"),
        ({"int": [1, 9], "step": 9}, "step 9 is longer than the range"),
        ({"float": [0.1, 0.2], "step": 0.11}, "step 0.11 is longer than the range"),
        ({"float": [0.1, 0.2], "step": float("inf")}, "finite number"),
        ({"float": [0.1, 0.2], "step": 0}, "greater than 0"),
    ],
)
def test_what_is_refused(written, says):
    with pytest.raises(ValidationError, match=says):
        of(**written)


@pytest.mark.parametrize(
    "written",
    [
        {"float": [0.1, 0.1]},
        {"int": [1, 9], "step": 8},
        {"float": [0.1, 0.2], "step": 0.1},
        {"float": [0.1, 0.4], "step": 0.3},
        {"float": [1e-9, 1.0], "log": True},
        {"int": [1, 9], "log": True, "step": 1},
        {"int": [-5, -5]},
        {"float": [-1.0, 0.0]},
    ],
)
def test_what_lies_just_inside_is_accepted(written):
    assert of(**written).extremes == tuple(written.get("float") or written.get("int"))


def test_optunas_form():
    assert of(float=[0.1, 0.4], log=True).distribution() == FloatDistribution(0.1, 0.4, log=True)
    assert of(float=[0.1, 0.4], step=0.1).distribution() == FloatDistribution(0.1, 0.4, step=0.1)
    assert of(int=[1, 7], step=3).distribution() == IntDistribution(1, 7, step=3)
    assert of(int=[1, 7], log=True).distribution() == IntDistribution(1, 7, log=True)
    assert of(int=[1, 7]).distribution() == IntDistribution(1, 7)
    assert of(choice=[1, [0, 2]]).distribution() == CategoricalDistribution([1, "[0, 2]"])
    assert of(choice=[1, 2]).extremes == (1, 2)


@pytest.mark.parametrize(
    ("written", "told", "value"),
    [
        ({"float": [0.1, 0.4]}, 0.4, 0.4),
        ({"int": [1, 7], "step": 3}, 4, 4),
        ({"choice": [[0], [0, 2]]}, "[0, 2]", (0, 2)),
        ({"choice": ["a", 3]}, 3, 3),
    ],
)
def test_values_are_told_asked_for_and_read_back(written, told, value):
    dimension = of(**written)
    if isinstance(value, tuple):
        dimension = dimension.model_copy(update={"choice": tuple(map(tuple, written["choice"]))})
    assert dimension.to_optuna(value) == told
    assert dimension.value(told) == value
    assert dimension.ask(FixedTrial({"x": told}), "x") == value


@pytest.mark.parametrize(
    ("written", "value"),
    [({"float": [0.1, 0.4]}, 0.41), ({"int": [1, 7], "step": 3}, 5), ({"choice": ["a"]}, "b"), ({"int": [1, 7]}, "x")],
)
def test_what_lies_outside_cannot_be_told(written, value):
    with pytest.raises(ValueError, match="outside of the space"):
        of(**written).to_optuna(value)


def test_drawn_values_stay_inside_and_on_the_steps():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = {of(int=[3, 11], step=4).ask(study.ask(), "n") for _ in range(40)}
    assert drawn == {3, 7, 11}
