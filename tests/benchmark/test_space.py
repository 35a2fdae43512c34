"""Points of the search space: which parameters count, what is one operator, and coordinates there and back."""

import random

import numpy as np
import pytest

from eos_platform.benchmark import Knobs, Space
from eos_platform.common.errors import EosError

DESIGNS = {
    "fastv": Knobs(("layer", (1, 0, 2)), ("attention", ("own", "previous"))),
    "tome": Knobs(("rounds", (0, 3)), None),
    "vtw": Knobs(),
}
COMPOSED = {
    "family": "composed", "first_layer": 0, "keep": 0.2, "second_layer": -1, "uniqueness": 1, "probe": "none",
    "spread": 1.5, "transfer": "none",
}  # fmt: skip


@pytest.fixture(scope="module")
def space():
    return Space(DESIGNS)


def test_every_point_once(space):
    points = [tuple(point.values()) for point in space.points()]
    assert len(points) == len(set(points))
    # sites x rules that choose x what becomes of the others, as the page counts them
    composed = 5 * 22 * 5 + 20 * 46 * 5 + 25 * 46 * 5
    designs = 6 * (3 * 2 + 2 + 1)
    assert len(points) == composed + designs + 2 * 3 * 2


def test_what_counts_nowhere_is_one_point(space):
    plain = space.canonical(COMPOSED)
    for name, value in (("text", 1), ("second_keep", 0.5), ("size_bias", 1), ("design", "vtw"), ("budget", 0.12)):
        assert space.canonical({**COMPOSED, name: value}) == plain, name
    behind = {**COMPOSED, "second_layer": 3, "second_keep": 0.5, "text": 0}
    assert space.canonical({**behind, "text": 1}) != space.canonical(behind)
    farthest = [space.canonical({**COMPOSED, "uniqueness": 0, "spread": spread}) for spread in (0.0, 0.5, 5.0)]
    assert farthest[0] != farthest[1] == farthest[2]


def test_a_design_has_as_many_numbers_as_its_knob(space):
    config = {"family": "design", "design": "tome", "ratio": 0.1, "knob_number": 2, "knob_choice": 1}
    assert space.canonical(config)["knob_number"] == 1
    assert space.canonical(config)["knob_choice"] == 0
    assert space.canonical({**config, "design": "fastv"})["knob_number"] == 2


@pytest.mark.parametrize("rng", [random.Random(3), np.random.default_rng(3)], ids=["python", "numpy"])
def test_samples_are_points_and_come_back_from_their_vector(space, rng):
    families = set()
    for _ in range(200):
        point = space.sample(rng)
        families.add(point["family"])
        assert space.canonical(point) == point
        vector = space.vector(point)
        assert all(0 <= value <= 1 for value in vector)
        assert space.of_vector(vector) == point
    assert families == {"composed", "design", "searched"}


def test_families_can_be_left_out():
    space = Space(DESIGNS, ("design",))
    assert [one.name for one in space.parameters] == ["family", "design", "ratio", "knob_number", "knob_choice"]
    assert {point["family"] for point in space.points()} == {"design"}


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({**COMPOSED, "keep": 0.3}, "keep: 0.3 is none of 0.05, 0.1"),
        ({**COMPOSED, "kep": 0.3}, "unknown parameter 'kep'; did you mean 'keep'?"),
        ({"family": "composed"}, "'first_layer' is missing"),
        ({**COMPOSED, "uniqueness": True}, "uniqueness: True is none of"),
        (5, "a mapping of parameters"),
    ],
)
def test_what_is_no_point_is_refused(space, config, says):
    with pytest.raises(EosError, match=says):
        space.canonical(config)


def test_other_mistakes_are_refused():
    with pytest.raises(EosError, match="unknown family 'desing'; did you mean 'design'"):
        Space(DESIGNS, ("desing",))
    with pytest.raises(EosError, match="at least one"):
        Space(DESIGNS, ())
    with pytest.raises(EosError, match="18 numbers"):
        Space(DESIGNS).of_vector([0.5] * 17)
