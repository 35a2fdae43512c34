"""Operators searched on one model, attached to models of every family."""

from __future__ import annotations

from pathlib import Path

import pytest

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.target import FROM_TOWER, absent_of, parts_of
from eos_platform.models.conformance.runs import cached
from eos_platform.models.conformance.subjects import batches, built
from eos_platform.models.conformance.zoo import SAMPLES
from eos_platform.models.runtime.attach import attached, attached_operator
from eos_platform.operators.designs import DESIGNS, get_design, suited
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target

SHIPPED = sorted((Path(__file__).parents[2] / "studies" / "results" / "operators").glob("*.json"))
RECEIVE = {
    "Qwen2-VL",
    "Qwen2.5-VL",
    "Qwen3-VL",
    "SmolVLM",
    "Idefics3",
    "InternVL",
    "Gemma 3",
    "PaliGemma",
}  # of other towers
BIG = Target(layers=8, grid=(24, 24), model="bundled", vision_layers=5)


def visual_widths(family: str, operator: OperatorSpec | Path) -> tuple[OperatorSpec, list[int]]:
    """The operator as it was attached, and how many tokens a row the layers saw of one prompt, then of a batch."""
    model, widths = built(SAMPLES[family]), list[int]()
    hooks = [
        layer.register_forward_pre_hook(lambda _, args, call: widths.append(args[0].shape[1]), with_kwargs=True)
        for layer in parts_of(model).layers
    ]
    try:
        with attached(model, operator, rescale=True):
            made = attached_operator(model)
            for name in ("one", "several"):
                _, logits_btv = cached(model, batches(SAMPLES[family])[name])
                assert logits_btv.isfinite().all()
    finally:
        for hook in hooks:
            hook.remove()
    assert made is not None
    return made, widths


@pytest.mark.parametrize("family", SAMPLES)
def test_shipped_operators_run_on_every_family(family: str) -> None:
    assert len(SHIPPED) == 5
    whole = batches(SAMPLES[family])["one"]["input_ids"].shape[1]
    for path in SHIPPED:
        found = OperatorSpec.load(path)
        made, widths = visual_widths(family, path)
        changes = "\n".join(made.provenance["rescaled_from"]["changes"])  # type: ignore[index, call-overload, arg-type]
        reads = any(site.score.get("vision") for site in found.sites)
        assert ("is without 'vision'" in changes) == (reads and family != "LLaVA-1.5"), changes
        assert any(site.score.get("vision") for site in made.sites) == (reads and family == "LLaVA-1.5")
        assert len(made.sites) == len(found.sites)
        assert widths[0] < whole  # really gone


def test_a_score_of_nothing_else_goes_by_what_is_nearest() -> None:
    sites = (
        SiteSpec(layer=0, keep=300, score={"vision": 2.0}),
        SiteSpec(layer=4, keep=100, score={"vision": -0.5, "next_vision": 0.25}, similarity="keys", selector="dpp"),
        SiteSpec(layer=6, keep=50, score={"vision": 1.0, "mean_text": 0.5}),
    )
    made, _ = visual_widths("Qwen2.5-VL", OperatorSpec(target=BIG, sites=sites))
    assert [site.score for site in made.sites] == [{"norm": 2.0}, {"last_text": -0.25}, {"mean_text": 0.5}]
    assert made.sites[1].similarity == "hidden"
    changes = made.provenance["rescaled_from"]["changes"]  # type: ignore[index, call-overload]
    assert "sites.0: it had no other feature, and uses 'norm' instead" in changes
    assert "sites.1: its score is without 'vision' (-0.5) and 'next_vision' (0.25), which the model does not give" in (
        changes
    )
    assert any("sites.1: tokens are compared by themselves" in one for one in changes)
    same, _ = visual_widths("LLaVA-1.5", OperatorSpec(target=BIG, sites=sites))
    assert [site.score for site in same.sites] == [site.score for site in sites]


@pytest.mark.parametrize("family", ["Qwen2.5-VL"])
def test_designs_run_on_other_families_or_say_why_not(family: str) -> None:
    """All but those that act inside the vision tower."""
    inside = set()
    for name in suited():
        design = get_design(name)
        operator = design.build(BIG, 576 if design.fixed else 100)
        if operator.tower_sites or operator.image:
            inside.add(name)
            with pytest.raises(EosError, match="vision tower is not reached into"):
                visual_widths(family, operator)
        else:
            visual_widths(family, operator)
    assert len(inside) < len(DESIGNS) / 3


def test_what_families_do_not_give() -> None:
    found = {family: absent_of(parts_of(built(sample))) for family, sample in SAMPLES.items()}
    assert found.pop("LLaVA-1.5") == ()
    assert set(found.values()) <= {FROM_TOWER, tuple(name for name in FROM_TOWER if name != "received")}
    assert {family for family, names in found.items() if "received" not in names} == RECEIVE
