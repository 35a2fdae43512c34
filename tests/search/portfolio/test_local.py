"""Neighbours of an operator in what is discrete: one thing changed in each, and nothing else."""

from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target, Transfer
from eos_platform.search.portfolio.local import _changed, _with

TARGET = Target(layers=6, grid=(8, 8))


def site(layer: int, keep: int, **more: object) -> SiteSpec:
    return SiteSpec.model_validate({"layer": layer, "keep": keep, "score": {"norm": 1.0}, **more})


def test_one_site_is_replaced_and_the_others_stay() -> None:
    sites = (site(0, 40), site(2, 30), site(4, 20))
    for number in range(3):
        made = _with(sites, number, keep=10)
        assert len(made) == 3
        assert [one.keep for one in made] == [10 if place == number else sites[place].keep for place in range(3)]


def test_only_a_round_that_another_follows_is_left_out() -> None:
    pair = {"selector": "alternate", "transfer": Transfer(gamma=1.0)}
    rounds = (site(0, 40, **pair), site(0, 30, **pair), site(3, 20, **pair), site(5, 15))
    changed = dict(_changed(OperatorSpec(name="mine", target=TARGET, sites=rounds)))
    assert [name for name in changed if "left out" in name] == ["site 0: left out"]
    assert changed["site 0: left out"] == rounds[1:]


def test_every_neighbour_differs_in_one_thing() -> None:
    merge = Transfer(gamma=1.0, tau=0.1)
    sites = (site(0, 40, selector="diverse_topk", spread=1.0, transfer=merge), site(3, 20))
    changed = dict(_changed(OperatorSpec(name="mine", target=TARGET, sites=sites)))
    assert changed["site 0: selector score"][0].spread == 0.0
    assert changed["site 0: spread times 1.6"][0].spread == 1.6
    assert changed["site 0: support nearest 4"][0].transfer.support.size == 4
    assert "site 1: tokens times 1.25" not in changed  # the last count is whatever the budget leaves
    assert {one.positions for one in changed["positions renumber"]} == {"renumber"}
    for name, made in changed.items():
        assert len(made) == 2, name
        assert sum(one != other for one, other in zip(made, sites, strict=True)) == (2 if "positions" in name else 1)


def test_nothing_is_next_to_nothing() -> None:
    assert list(_changed(OperatorSpec(name="mine", target=TARGET, sites=()))) == []
