"""Operators behind coordinates: composed sites, designs at their ratio, knobs at three places."""

import pytest

from eos_platform.benchmark import Knobs, Space
from eos_platform.benchmark.operators import Operators, design_knobs, digest, directions
from eos_platform.common.errors import EosError
from eos_platform.costs.flops import DecoderShape, compute_ratio
from eos_platform.operators.designs import DESIGNS
from eos_platform.operators.spec import Target

TARGET = Target(layers=6, grid=(12, 12), model="bundled-small", vision_layers=3)
SHAPE = DecoderShape(6, 128, 4, 4, 32, 352, 488, 32)
KNOBS = {name: design_knobs(DESIGNS[name], TARGET) for name in ("fastv", "vtw", "prumerge", "tome")}


@pytest.fixture(scope="module")
def operators():
    return Operators("bundled-small", TARGET, SHAPE, 9, KNOBS)


def composed(**other):
    config = {
        "family": "composed", "first_layer": 0, "keep": 0.2, "second_layer": 4, "second_keep": 0.5, "text": 1,
        "uniqueness": 1, "probe": "steered", "spread": 1.5, "transfer": "soft", "size_bias": 1,
    }  # fmt: skip
    return Space(KNOBS).canonical(config | other)


def test_knobs_are_as_published_then_half_way():
    assert KNOBS["fastv"] == Knobs(("layer", (1, 0, 2)), ("positions", ("keep", "renumber")))
    assert KNOBS["prumerge"].number == ("neighbours", (32, 11, 64))
    assert KNOBS["tome"].number == ("rounds", (0, 3))  # the published value is the lowest
    assert KNOBS["vtw"] == Knobs()


def test_a_composed_operator_has_what_its_coordinates_say(operators):
    first, second = operators.of(composed()).sites
    assert (first.layer, first.keep, second.layer, second.keep) == (0, 29, 4, 14)
    assert set(first.score) == {"uniqueness"}  # no text has met the picture there
    assert set(second.score) == {"uniqueness", "last_text"}
    assert first.selector == "diverse_topk"
    assert first.spread == 1.5
    assert (first.transfer.gamma, first.transfer.tau, first.beta) == (1.0, 0.02, 1.0)
    assert first.probe == directions("bundled-small", 0)[0] != second.probe
    assert first.steering is not None
    assert operators.of(composed(probe="learned")).sites[0].steering is None


def test_without_a_score_tokens_are_spaced_or_farthest(operators):
    plain = {"text": 0, "uniqueness": 0, "probe": "none", "second_layer": -1}
    assert operators.of(composed(**plain, spread=0.0)).sites[0].selector == "grid"
    assert operators.of(composed(**plain, spread=5.0)).sites[0].selector == "farthest"


def test_other_coordinates_are_other_operators(operators):
    points = [composed(keep=keep, transfer=transfer) for keep in (0.1, 0.2) for transfer in ("none", "nearest", "soft")]
    assert len({digest(operators.of(point)) for point in points}) == 6


def test_designs_meet_their_ratio_or_are_as_cheap_as_they_get(operators):
    for point in Space(KNOBS, ("design",)).points():
        ratio = compute_ratio(operators.of(point), SHAPE, 9)
        assert ratio <= point["ratio"] or ratio < 0.21, point
    config = {"family": "design", "design": "fastv", "knob_number": 0, "knob_choice": 0}
    fastv = [operators.of(Space(KNOBS).canonical(config | {"ratio": ratio})) for ratio in (0.05, 0.5)]
    cheap, dear = (compute_ratio(operator, SHAPE, 9) for operator in fastv)
    assert 0.05 < cheap < 0.07  # a single token left
    assert 0.45 < dear <= 0.5


def test_what_no_coordinates_say_is_refused(operators):
    with pytest.raises(EosError, match="not made from coordinates"):
        operators.of({"family": "searched"})
    with pytest.raises(EosError, match="unknown model 'bundled-big'"):
        directions("bundled-big", 0)
    with pytest.raises(EosError, match="unknown layer '1'; known: 0, 2, 3, 4"):
        directions("bundled-small", 1)
