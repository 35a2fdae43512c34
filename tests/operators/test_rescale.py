"""Operators made to fit another model: what is kept in proportion, what cannot travel, what is said of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eos_platform.common.errors import EosError
from eos_platform.operators.rescale import rescale, sites_for
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target

BIG = Target(layers=32, grid=(24, 24), model="big")


def operator(*sites: dict[str, object], target: Target = BIG) -> OperatorSpec:
    return OperatorSpec(name="mine", target=target, sites=tuple(SiteSpec.model_validate(site) for site in sites))


def test_layers_and_counts_keep_their_share() -> None:
    mine = operator(
        {"layer": 0, "keep": 288, "score": {"norm": 1.0}, "important": 72},
        {"layer": 16, "keep": 57, "score": {"last_text": 1.0}},
    )
    made = rescale(mine, Target(layers=8, grid=(12, 12), model="small"))
    assert [(site.layer, site.keep, site.important) for site in made.operator.sites] == [(0, 72, 18), (4, 14, 0)]
    assert made.changes == (
        "sites.0: keeps 288 of 576 -> 72 of 144",
        "sites.1: decoder layer 16 -> 4",
        "sites.1: keeps 57 of 576 -> 14 of 144",
    )
    assert str(made) == "\n".join(made.changes)
    assert made.operator.provenance["rescaled_from"]["changes"] == list(made.changes)  # type: ignore[index, call-overload]
    assert rescale(mine, Target(layers=8, grid=(12, 12), model="small")).operator == made.operator


def test_the_same_model_changes_nothing() -> None:
    mine = operator({"layer": 3, "keep": 100, "score": {"norm": 1.0}, "probe": (1.0, 2.0)})
    made = rescale(mine, BIG, probes=True)
    assert made.operator is mine
    assert str(made) == "nothing had to be changed"


def test_probes_cannot_travel() -> None:
    mixed = operator({"layer": 3, "keep": 100, "score": {"norm": 1.0}, "probe": (1.0, 2.0)})
    made = rescale(mixed, Target(layers=32, grid=(12, 12)))
    assert made.operator.sites[0].probe == ()
    assert "sites.0: its learned direction (2 numbers) cannot be transferred, and was left out" in made.changes
    alone = operator({"layer": 3, "keep": 100, "probe": (1.0, 2.0)})
    with pytest.raises(EosError, match=r"'mine': sites\.0: ranks by a learned direction alone"):
        rescale(alone, Target(layers=32, grid=(12, 12)))
    assert sites_for(alone, (30, 20))[0].probe == (1.0, 2.0)  # the same model, another picture


def test_positions_of_several_axes_are_kept() -> None:
    mine = operator({"layer": 3, "keep": 100, "score": {"norm": 1.0}, "positions": "renumber"})
    made = rescale(mine, BIG, positions=False)
    assert made.operator.sites[0].positions == "keep"
    assert any("positions are kept" in change for change in made.changes)


def test_a_site_inside_never_becomes_one_before_the_model() -> None:
    mine = operator({"layer": 1, "keep": 100, "score": {"norm": 1.0}})
    assert rescale(mine, Target(layers=4, grid=(24, 24))).operator.sites[0].layer == 1


def test_files_say_the_shares_too() -> None:
    mine = operator({"layer": 8, "keep": 144, "score": {"norm": 1.0}})
    data = json.loads(mine.to_json())
    assert data["relative"] == [{"place": "decoder", "depth": 0.25, "keep": 0.25}] == mine.relative
    assert OperatorSpec.from_json(mine.to_json()) == mine
    assert OperatorSpec.model_validate(data) == mine


@settings(deadline=None, max_examples=150)
@given(
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(0, 31), st.integers(1, 576)), max_size=4),
    st.sampled_from(["score", "alternate", "grid", "diverse_topk"]),
)
def test_any_grid_is_fitted(rows: int, columns: int, layers: int, drawn: list[tuple[int, int]], selector: str) -> None:
    made, left = [], 576
    for layer, keep in sorted(drawn):
        keep = min(keep, left)
        if selector == "alternate":
            keep = max(keep, left // 2)
        made.append({"layer": layer, "keep": keep, "selector": selector, "score": {"norm": 1.0}})
        left = keep
    target = Target(layers=layers, grid=(rows, columns))
    fitted = rescale(operator(*made), target).operator  # validation is the test
    assert fitted.target.grid == (rows, columns)
    assert all(site.keep >= 1 for site in fitted.sites)
