"""Matched compute, against an exhaustive look at every mean, with the bundled model's shape."""

from functools import cache

import pytest

from eos_platform.common.errors import EosError
from eos_platform.costs.flops import DecoderShape, compute_ratio
from eos_platform.costs.match import match
from eos_platform.operators.designs import DESIGNS
from eos_platform.operators.spec import Target

TARGET = Target(layers=8, grid=(12, 12), vision_layers=4)
SHAPE = DecoderShape(layers=8, hidden=256, heads=4, kv_heads=4, head_dim=64, intermediate=688, vocab=128)
TEXT = 20
MATCHED = [name for name, design in DESIGNS.items() if not design.fixed and not design.films]


@pytest.mark.parametrize("name", MATCHED)
def test_the_dearest_mean_within_the_ratio(name):
    @cache  # the same for every ratio
    def at(total):
        one = DESIGNS[name].build(TARGET, total / 8)
        return one.mean_tokens, compute_ratio(one, SHAPE, TEXT)

    for ratio in (0.15, 0.3, 0.6, 1.0):
        operator = match(name, ratio, TARGET, SHAPE, TEXT)
        assert compute_ratio(operator, SHAPE, TEXT) <= ratio
        dearer = map(at, range(round(operator.mean_tokens * 8) + 1, 144 * 8 + 1))
        assert all(cost > ratio for mean, cost in dearer if mean > operator.mean_tokens), ratio


@pytest.mark.parametrize("name", [name for name in MATCHED if not DESIGNS[name].coarse])
@pytest.mark.parametrize("ratio", [0.33, 0.22, 0.15])
def test_compute_is_matched_closely(name, ratio):
    """One more token is at most 1 % of the model's compute here; at 576 tokens a quarter of that."""
    assert compute_ratio(match(name, ratio, TARGET, SHAPE, TEXT), SHAPE, TEXT) > ratio - 0.01


def test_a_design_and_its_name_are_the_same_thing():
    assert match(DESIGNS["tome"], 0.3, TARGET, SHAPE, TEXT) == match("tome", 0.3, TARGET, SHAPE, TEXT)


def test_knobs_are_those_of_the_design():
    operator = match("fastv", 0.6, TARGET, SHAPE, TEXT, layer=3, positions="renumber")
    assert (operator.sites[0].layer, operator.sites[0].positions) == (3, "renumber")
    with pytest.raises(EosError, match="design 'fastv': unknown knob 'layers'; did you mean 'layer'"):
        match("fastv", 0.6, TARGET, SHAPE, TEXT, layers=3)


def test_fastv_moves_before_the_language_model_where_its_layer_cannot_reach():
    floor = compute_ratio(DESIGNS["fastv"].build(TARGET, (144 + 7) / 8), SHAPE, TEXT)
    assert match("fastv", floor, TARGET, SHAPE, TEXT).sites[0].layer == 1
    below = match("fastv", floor - 1e-6, TARGET, SHAPE, TEXT)
    assert below.sites[0].layer == 0
    assert below.tokens_left > 1


def test_fixed_designs_match_where_they_are_cheap_enough():
    zero = compute_ratio(DESIGNS["zero"].build(TARGET, 0), SHAPE, TEXT)
    assert match("zero", zero, TARGET, SHAPE, TEXT).tokens_left == 0
    with pytest.raises(EosError, match=r"'zero' cannot reach compute ratio 0\.001"):
        match("zero", 0.001, TARGET, SHAPE, TEXT)
    with pytest.raises(EosError, match=r"'reweight' cannot reach compute ratio 0\.5"):
        match("reweight", 0.5, TARGET, SHAPE, TEXT)
    assert match("reweight", 1.1, TARGET, SHAPE, TEXT).regime == "reweight"


def test_out_of_reach_names_the_smallest_ratio():
    smallest = compute_ratio(DESIGNS["pool"].build(TARGET, 1), SHAPE, TEXT)
    with pytest.raises(EosError, match=rf"'pool' cannot reach compute ratio 0\.001 here: {smallest:.4f} is"):
        match("pool", 0.001, TARGET, SHAPE, TEXT)
    assert match("pool", smallest, TARGET, SHAPE, TEXT).tokens_left == 1


@pytest.mark.parametrize("ratio", [0.0, -0.1, float("nan")])
def test_a_ratio_is_positive(ratio):
    with pytest.raises(EosError, match="must be above 0"):
        match("pool", ratio, TARGET, SHAPE, TEXT)


def test_unknown_designs_and_towers_are_named():
    with pytest.raises(EosError, match="unknown design 'fastvv'; did you mean 'fastv'"):
        match("fastvv", 0.2, TARGET, SHAPE, TEXT)
    with pytest.raises(EosError, match="design 'tome-tower': acts inside the vision tower"):
        match("tome-tower", 0.2, Target(layers=8, grid=(12, 12)), SHAPE, TEXT)
