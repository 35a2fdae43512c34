"""What an operator is compiled to: against what its sites say themselves, and what each setting needs."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch

from eos_platform.operators.designs import DESIGNS, suited
from eos_platform.operators.plan import Need, OperatorPlan
from eos_platform.operators.reduce import needed
from eos_platform.operators.spec import OperatorSpec, Steering, Target

TARGET = Target(layers=6, grid=(8, 8), vision_layers=4)
IDLE = {"layer": 0, "keep": 64, "score": {"mean_text": 1.0}}
PRUNE = {"layer": 2, "keep": 20, "score": {"norm": 1.0}}
FEWER = {Need.FEWER_FROM_TOWER, Need.ONE_IMAGE, Need.NO_LATER_IMAGE}
INSIDE = {"place": "tower", "layer": 1, "keep": 40, "score": {"norm": 1.0}}


def plan(*sites: dict[str, Any], **more: Any) -> OperatorPlan:
    return OperatorPlan.of(OperatorSpec.of({"target": TARGET.model_dump(), "sites": list(sites), **more}))


def test_sites_stand_with_what_arrives_there() -> None:
    found = plan(INSIDE, {**IDLE, "keep": 40}, PRUNE, {**PRUNE, "layer": 4, "keep": 9})
    assert [(one.number, one.order, one.incoming) for one in found.tower] == [(0, 0, 64)]
    assert [(one.number, one.order, one.incoming) for one in found.decoder] == [(1, 0, 40), (2, 1, 40), (3, 2, 20)]
    assert (found.tokens, found.arriving, found.entering) == (64, 64, 40)
    assert found.counts == (40, 40, 20, 20, 9, 9)


def test_sites_before_the_first_that_acts_are_idle() -> None:
    """They read nothing and are not installed; behind one that acts, even a site that keeps all has a say in sizes."""
    found = plan(IDLE, PRUNE, {**PRUNE, "layer": 3, "keep": 20})
    assert [one.active for one in found.decoder] == [False, True, True]
    assert [one.features for one in found.decoder] == [(), ("norm",), ()]
    assert {layer: [one.number for one in sites] for layer, sites in found.by_layer.items()} == {2: [1], 3: [2]}
    assert found.first_layer == 2
    # tokens that came out of the tower reduced already stand for several each
    assert [one.active for one in plan(INSIDE, {**IDLE, "keep": 40}).decoder] == [True]
    assert plan(INSIDE).first_layer == 0
    assert plan(IDLE).first_layer is None
    assert not plan(IDLE).by_layer
    assert plan().counts == (64,) * 6


def test_what_is_read_in_the_tower_and_done_there_is_told_apart() -> None:
    reads = plan({**PRUNE, "score": {"vision": 1.0, "last_text": 0.5}})
    assert reads.tower_features == {"vision"}
    assert not reads.acts_in_tower
    acts = plan(INSIDE)
    assert acts.acts_in_tower
    assert acts.sees_less
    assert not acts.tower_features
    reweights = plan({**INSIDE, "keep": 64, "rho": 0.5})
    assert reweights.acts_in_tower
    assert not reweights.sees_less


def steered() -> dict[str, Any]:
    steering = Steering.of(*torch.ones(4, 4).split([2, 2]))
    return {"probe": [1.0] * 4, "steering": steering.model_dump(), "score": {}}


@pytest.mark.parametrize(
    ("sites", "more", "needs"),
    [
        ([], {}, set()),
        ([PRUNE], {}, set()),
        ([IDLE], {}, set()),
        ([{**PRUNE, "beta": 0.5}], {}, {Need.SIZE_BIAS}),
        ([{**INSIDE, "keep": 64}], {}, {Need.TOWER_SITES, Need.NO_LATER_IMAGE}),
        ([INSIDE], {}, {Need.TOWER_SITES, *FEWER}),
        ([{**INSIDE, "keep": 64, "beta": 1.0}], {}, {Need.TOWER_SITES, Need.TOWER_SIZE_BIAS, Need.NO_LATER_IMAGE}),
        ([], {"image": [4, 4]}, {Need.SMALLER_IMAGE, *FEWER}),
        ([], {"image": [8, 8]}, set()),
        ([{**PRUNE, "positions": "renumber"}], {}, {Need.RENUMBERING}),
        ([{**PRUNE, "score": {"vision": 1.0}}], {}, {Need.TOWER_FEATURES}),
        ([{**PRUNE, "similarity": "keys"}], {}, set()),
        ([{**PRUNE, "similarity": "keys", "transfer": {"gamma": 1.0}}], {}, {Need.TOWER_FEATURES}),
        ([{**PRUNE, "score": {"last_text": 1.0}}], {}, {Need.PROMPT_TEXT, Need.LAYER_WEIGHTS}),
        ([{**PRUNE, "score": {"key_norm": 1.0}}], {}, {Need.LAYER_WEIGHTS}),
        ([{**PRUNE, "score": {"relevance": 1.0}}], {}, {Need.PROMPT_TEXT}),
        ([{**PRUNE, **steered()}], {}, {Need.PROMPT_TEXT}),
        ([{**PRUNE, "selector": "pivots"}], {}, {Need.PROMPT_TEXT, Need.LAYER_WEIGHTS}),
        ([{**IDLE, "layer": 2, "keep": 20, "selector": "random"}], {}, set()),  # no score is read
    ],
)
def test_needs_follow_from_settings(sites: list[dict[str, Any]], more: dict[str, Any], needs: set[Need]) -> None:
    found = plan(*sites, **more)
    assert found.needs == needs
    for restriction in found.restrictions:
        assert restriction.site is None or restriction.site < len(sites)
        assert restriction.what


def test_sites_that_make_sizes_a_bias_are_known_by_layer() -> None:
    assert plan(PRUNE, {**PRUNE, "layer": 4, "keep": 9, "beta": 0.1}).biased == (4,)
    assert plan({**IDLE, "beta": 1.0}, PRUNE).biased == ()  # nothing stands for several yet


def test_other_grids_keep_the_same_shares_and_are_made_once() -> None:
    found = plan(PRUNE)
    assert found.of_grid((8, 8)) is found
    larger = found.of_grid((8, 16))
    assert larger is found.of_grid((8, 16))
    assert larger.counts == (128, 128, 40, 40, 40, 40)
    assert larger.decoder[0].incoming == 128


def test_tokens_and_cache_positions_of_a_prompt() -> None:
    found = plan(PRUNE)
    assert found.lengths(10) == (74, 74, 30, 30, 30, 30)
    assert found.lengths(10, images=2) == (138, 138, 50, 50, 50, 50)
    assert found.kv_positions(10) == 268
    assert plan().kv_positions(0, images=3) == 6 * 3 * 64


def test_copies_are_plans_of_the_same() -> None:
    found = plan(INSIDE, {**PRUNE, "beta": 1.0})
    assert found.needs
    assert found.of_grid((4, 4)).counts
    for other in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert other.operator == found.operator
        assert other.by_layer == found.by_layer
        assert other.needs == found.needs


@pytest.mark.parametrize("name", sorted(suited()))
def test_designs_are_compiled_as_their_sites_say(name: str) -> None:
    target = Target(layers=12, grid=(12, 12), vision_layers=8)
    operator = DESIGNS[name].build(target, 144 if DESIGNS[name].fixed else 60)
    found = OperatorPlan.of(operator)
    sites = sorted((*found.tower, *found.decoder), key=lambda one: one.number)
    assert [one.site for one in sites] == list(operator.sites)
    assert tuple(one.incoming for one in sites) == operator.incoming
    assert found.counts == operator.counts
    for one in sites:
        assert one.features == (() if one.site.is_noop(one.incoming) else needed(one.site, one.incoming))
    read = {feature for one in found.decoder for feature in one.features}
    assert set(found.features) == read
