"""Matched compute, against an exhaustive look at every count, with the bundled model's shape."""

import pytest

from eos_platform.analysis.match import match
from eos_platform.errors import EosError
from eos_platform.models.compute import DecoderShape, compute_ratio
from eos_platform.operators.designs import DESIGNS
from eos_platform.operators.spec import Target

TARGET = Target(layers=8, grid=(12, 12))
SHAPE = DecoderShape(layers=8, hidden=256, heads=4, kv_heads=4, head_dim=64, intermediate=688, vocab=128)
TEXT = 20


@pytest.mark.parametrize("name", sorted(DESIGNS))
@pytest.mark.parametrize("ratio", [0.15, 0.3, 0.6, 1.0])
def test_the_dearest_count_within_the_ratio(name, ratio):
    operator = match(name, ratio, TARGET, SHAPE, TEXT)
    assert compute_ratio(operator, SHAPE, TEXT) <= ratio
    layer = operator.sites[0].layer if operator.sites else None
    dearer = range(operator.tokens_left + 1, TARGET.tokens + 1)
    over = [compute_ratio(DESIGNS[name].build(TARGET, keep, layer), SHAPE, TEXT) for keep in dearer]
    assert all(cost > ratio for cost in over)


def test_a_design_and_its_name_are_the_same_thing():
    assert match(DESIGNS["tome"], 0.3, TARGET, SHAPE, TEXT) == match("tome", 0.3, TARGET, SHAPE, TEXT)


def test_fastv_moves_before_the_language_model_where_its_layer_cannot_reach():
    own = DESIGNS["fastv"].layers(TARGET)[0]
    floor = compute_ratio(DESIGNS["fastv"].build(TARGET, 1, own), SHAPE, TEXT)
    assert match("fastv", floor, TARGET, SHAPE, TEXT).sites[0].layer == own
    below = match("fastv", floor - 1e-6, TARGET, SHAPE, TEXT)
    assert below.sites[0].layer == 0
    assert below.tokens_left > 1


def test_out_of_reach_names_the_smallest_ratio():
    smallest = compute_ratio(DESIGNS["pool"].build(TARGET, 1), SHAPE, TEXT)
    with pytest.raises(EosError, match=rf"'pool' cannot reach compute ratio 0\.001 here: {smallest:.4f} is"):
        match("pool", 0.001, TARGET, SHAPE, TEXT)
    assert match("pool", smallest, TARGET, SHAPE, TEXT).tokens_left == 1


@pytest.mark.parametrize("ratio", [0.0, -0.1, float("nan")])
def test_a_ratio_is_positive(ratio):
    with pytest.raises(EosError, match="must be above 0"):
        match("pool", ratio, TARGET, SHAPE, TEXT)


def test_an_unknown_design_is_named():
    with pytest.raises(EosError, match="unknown design 'fastvv'; did you mean 'fastv'"):
        match("fastvv", 0.2, TARGET, SHAPE, TEXT)
