"""Where designs act and how many tokens they leave there, at LLaVA-1.5's depth and at others."""

import itertools
import math

import pytest

from eos_platform.operators.designs import LLAVA, get_design
from eos_platform.operators.designs.merging.tome import rounds
from eos_platform.operators.designs.schedule import between, stages
from eos_platform.operators.spec import Target


def test_early_layers_are_as_deep_as_in_llava_and_earlier_where_no_count_could_reach():
    for name in ("fastv", "dart"):
        design = get_design(name)
        assert [design.build(LLAVA, 64).sites[0].layer, design.build(LLAVA, 64, layer=1).sites[0].layer] == [2, 1]
        assert design.build(Target(layers=8, grid=(24, 24)), 100).sites[0].layer == 1
        assert design.build(LLAVA, (2 * 576 + 30) / 32).counts == (576, 576, *[1] * 30)
        assert design.build(LLAVA, (2 * 576 + 29) / 32).sites[0].layer == 1
        assert design.build(LLAVA, 16).sites[0].layer == 0


def test_stages_are_as_deep_as_in_llava_and_earlier_where_no_count_could_reach():
    def at(name, tokens, target=LLAVA, **knobs):
        return [site.layer for site in get_design(name).build(target, tokens, **knobs).sites]

    assert at("sparsevlm", 100) == at("sparsevlm-v2", 100) == [3, 7, 16]
    assert at("sparsevlm-v2", 50) == [2, 6, 15]
    assert at("sparsevlm-v2", 100, Target(layers=8, grid=(24, 24))) == [1, 2, 4]
    assert at("sparsevlm-v2", 100, scale=0.5) == [2, 4, 8]
    assert at("pyramiddrop", 300) == at("pyramiddrop", 192) == [8, 16, 24]
    assert at("pyramiddrop", 190) == at("pyramiddrop", 64) == [2, 6, 16]
    assert at("pyramiddrop", 30) == [1, 5, 15]


def test_pyramiddrop_keeps_one_fraction_and_sparsevlm_goes_through_its_lists():
    assert [site.keep for site in get_design("pyramiddrop").build(LLAVA, 270).sites] == [288, 144, 72]
    assert [site.keep for site in get_design("sparsevlm-v2").build(LLAVA, 206.75).sites] == [300, 200, 118]
    drawn = get_design("sparsevlm").build(LLAVA, 206.5).sites
    assert [(site.important, site.keep) for site in drawn] == [(300, 309), (200, 204), (110, 113)]
    recycled = get_design("sparsevlm").build(LLAVA, 206.5, recycle=0.6, cluster=5).sites[0]
    assert recycled.keep == 309
    assert recycled.keep - recycled.important == (int(0.6 * (576 - recycled.important)) + 1) // 5 + 1


@pytest.mark.parametrize("keep", [1, 2, 16, 63, 64, 128, 192, 300, 575])
@pytest.mark.parametrize("more", [0, 1, 4])
def test_tome_halves_at_most(keep, more):
    counts = (576, *rounds(576, keep, more))
    assert counts[-1] == keep
    assert all(before > after >= before / 2 for before, after in itertools.pairwise(counts))
    assert len(counts) - 1 <= math.ceil(math.log2(576 / keep)) + more


@pytest.mark.parametrize("name", ["tome-tower", "diffrate"])
def test_blocks_of_the_tower_remove_alike(name):
    sites = get_design(name).build(LLAVA, 192).sites
    assert [(site.place, site.layer) for site in sites] == [("tower", block) for block in range(1, 23)]
    removed = [a - b for a, b in itertools.pairwise((576, *(site.keep for site in sites)))]
    assert set(removed) == {17, 18}
    assert get_design(name).build(LLAVA, 192, first=12).sites[0].layer == 12


def test_tome_in_a_short_tower_takes_more_rounds_a_block_and_halves_at_most():
    sites = get_design("tome-tower").build(Target(layers=8, grid=(24, 24), vision_layers=4), 16).sites
    assert [site.layer for site in sites] == [1, 1, 2, 2, 3, 3]
    counts = (576, *(site.keep for site in sites))
    assert all(after >= before / 2 for before, after in itertools.pairwise(counts))


def test_fractions_go_straight_from_nothing_through_each_list_to_everything():
    for lists in ([[30, 10]], [[20, 8], [40, 30]], [[10, 1, 1], [20, 15, 2], [30, 30, 29]]):
        fractions = between(lists, 40)
        points = [[0.0] * len(lists[0]), *([count / 40 for count in one] for one in lists), [1.0] * len(lists[0])]
        for at, (low, high) in enumerate(itertools.pairwise(points)):
            for part in (0.0, 0.25, 1.0):
                wanted = [a + part * (b - a) for a, b in zip(low, high, strict=True)]
                assert fractions((at + part) / (len(points) - 1)) == pytest.approx(wanted)


def test_where_stages_have_the_same_fraction_the_earlier_one_rounds_up_first() -> None:
    target = Target(layers=8, grid=(6, 6))
    split = set()
    for mean in range(20, 200):
        (_, first), (_, second) = stages(target, mean / 10, (0, 4), lambda amount: (amount, amount))
        assert first >= second
        split.add(first - second)
    assert split == {0, 1}  # and means come in the finest steps
