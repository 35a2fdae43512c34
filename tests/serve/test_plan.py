"""What an engine can do of an operator, for every design and for what a search finds."""

import json
from pathlib import Path

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.operators.designs import DESIGNS, suited
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Steering, Target
from eos_platform.serve.plan import LayerZero, ServingPlan, Verdict, digest

TARGET = Target(layers=8, grid=(24, 24), vision_layers=5)
SERVED = {
    "adaptive-pool",
    "cdpruner",
    "divprune",
    "pool",
    "prunesid",
    "random",
    "stride",
    "tome",
    "visionzip",
    "vispruner",
}
RESULTS = Path(__file__).parents[2] / "studies/results/operators"


def verdict(*sites: SiteSpec, **fields: object) -> ServingPlan:
    return ServingPlan.of(OperatorSpec(target=TARGET, sites=sites, **fields))


def test_every_design_is_served_exactly_or_refused_with_a_reason() -> None:
    built = {name: DESIGNS[name].build(TARGET, 576 if name == "reweight" else 120) for name in suited()}
    plans = {name: ServingPlan.of(operator) for name, operator in built.items()}
    exact = {name for name, plan in plans.items() if plan.verdict is Verdict.EXACT}
    assert exact >= SERVED
    assert {
        "fastv",
        "sparsevlm-v2",
        "pyramiddrop",
        "vtw",
        "dart",
        "tome-tower",
        "zero",
        "downsample",
        "flowcut",
        "todre",
    } & exact == set()
    assert all(plan.reasons for name, plan in plans.items() if name not in exact)
    assert all(plan.served is not None for plan in plans.values() if plan.verdict is Verdict.EXACT)


def test_sites_inside_the_language_model_are_left_out_where_that_is_agreed_to() -> None:
    first = SiteSpec(layer=0, keep=100, score={"norm": 1.0})
    plan = verdict(first, SiteSpec(layer=5, keep=20, score={"last_text": 1.0}))
    assert plan.verdict is Verdict.APPROXIMATE
    assert "sites.1 before layer 5 (100 -> 20)" in plan.reasons[0]
    with pytest.raises(EosError, match="--approximate agrees"):
        plan.taken()
    assert plan.taken(approximate=True).sites == (first,)


def test_sites_inside_the_language_model_are_served_where_that_is_asked_for() -> None:
    sites = (
        SiteSpec(layer=0, keep=100, score={"norm": 1.0}),
        SiteSpec(layer=5, keep=20, score={"last_text": 1.0, "mean_text": 0.5, "norm": 0.1}, beta=1.0),
    )
    operator = OperatorSpec(target=TARGET, sites=sites)
    plan = ServingPlan.of(operator, inside=True)
    assert (plan.verdict, plan.served) == (Verdict.EXACT, operator)
    assert any("before layer 5" in note and "prefix caching" in note for note in plan.notes)
    for later, why in (
        ({"score": {"weighed_text": 1.0}}, "'weighed_text' is not read inside"),
        ({"score": {"norm": 1.0}, "positions": "renumber"}, "positions are kept inside"),
    ):
        other = OperatorSpec(target=TARGET, sites=(sites[0], SiteSpec(layer=5, keep=20, **later)))
        left = ServingPlan.of(other, inside=True)
        assert left.verdict is Verdict.APPROXIMATE
        assert why in left.reasons[0]
    film = SiteSpec(layer=5, keep=20, scope="film", score={"norm": 1.0})
    assert "looks across frames" in ServingPlan.of(OperatorSpec(target=TARGET, sites=(film,)), inside=True).reasons[0]


def test_a_later_site_that_changes_nothing_is_no_obstacle() -> None:
    sites = SiteSpec(layer=0, keep=576, score={"norm": 1.0}), SiteSpec(layer=3, keep=576, score={"norm": 1.0})
    assert verdict(*sites).verdict is Verdict.EXACT


@pytest.mark.parametrize(
    ("site", "says"),
    [
        (SiteSpec(layer=3, keep=20, score={"norm": 1.0}), "nothing is left|inside the language model"),
        (SiteSpec(layer=0, keep=20, score={"last_text": 1.0}), "'last_text' is read in the language model"),
        (SiteSpec(layer=0, keep=20, score={"next_vision": 1.0}), "does not build"),
        (SiteSpec(layer=0, keep=20, score={"received": 1.0}), "'received' is not read in the engine's vision tower"),
        (SiteSpec(layer=0, keep=20, score={"norm": 1.0}, exclude_padding=True), "'padding' is not read in the engine"),
        (SiteSpec(layer=0, keep=20, score={"weighed_text": 1.0}), "'weighed_text' is read in the language model"),
        (SiteSpec(place="tower", layer=5, keep=20, score={"norm": 1.0}), "in the vision tower"),
        (SiteSpec(place="tower", layer=2, keep=20, score={"norm": 1.0}), "in the vision tower"),
        (SiteSpec(layer=0, keep=0, selector="drop_all"), "no visual token"),
        (SiteSpec(layer=0, keep=20, scope="film", score={"norm": 1.0}), "looks across frames"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_line(site: SiteSpec, says: str) -> None:
    plan = verdict(site)
    assert plan.verdict is Verdict.REFUSED
    with pytest.raises(EosError, match=says):
        plan.taken(approximate=True)


def test_a_shrunk_picture_is_refused() -> None:
    assert "shrunk" in verdict(image=(12, 12)).reasons[0]


def test_positions_and_sizes_of_what_is_served() -> None:
    def served(*sites: SiteSpec) -> LayerZero:
        return LayerZero.of(OperatorPlan.of(OperatorSpec(target=TARGET, sites=sites)))

    kept = SiteSpec(layer=0, keep=100, score={"norm": 1.0}, beta=0.5)
    renumbered = SiteSpec(layer=0, keep=100, score={"norm": 1.0}, positions="renumber")
    later = SiteSpec(layer=0, keep=40, score={"norm": 1.0})
    found = served(kept)
    assert (found.kept, found.extent, found.keeps_positions, found.sized) == (100, 576, True, True)
    found = served(renumbered)
    assert (found.kept, found.extent, found.keeps_positions, found.sized) == (100, 100, False, False)
    found = served(renumbered, later)
    assert (found.kept, found.extent, found.keeps_positions) == (40, 100, True)
    assert served().kept == served().extent == 576


def test_the_text_decides_where_it_is_read() -> None:
    steering = Steering.of(torch.ones(1, 4), torch.ones(1, 4))
    site = SiteSpec(layer=0, keep=9, score={"norm": 1.0}, probe=(1.0, 0.0, 0.0, 0.0), steering=steering)
    plan = OperatorPlan.of(OperatorSpec(target=TARGET, sites=(site,)))
    assert LayerZero.of(plan).reads_text
    assert any("question decides" in note for note in ServingPlan.of(plan.operator).notes)


@pytest.mark.skipif(not RESULTS.is_dir(), reason="no operators beside the tests")
def test_operators_that_were_found_are_served_at_least_in_part() -> None:
    for file in sorted(RESULTS.glob("bundled-*.json"))[:6]:
        assert ServingPlan.of(OperatorSpec.load(file)).served is not None, file.name


def test_digests_tell_operators_apart_and_engines_are_known_by_name() -> None:
    one, other = (OperatorSpec(target=TARGET, sites=(SiteSpec(layer=0, keep=k, score={"norm": 1.0}),)) for k in (5, 6))
    assert digest(one) != digest(other)
    assert digest(one) == digest(OperatorSpec.of(json.loads(one.to_json())))
    with pytest.raises(EosError, match="did you mean 'vllm'"):
        ServingPlan.of(one, "vlm")
