"""Presence that heads carry in spare dimensions is the same as presence in masks: what comes out, and its gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.adapters.target import parts_of
from eos_platform.models.conformance.subjects import built
from eos_platform.models.conformance.zoo import SAMPLES, prompts
from eos_platform.models.relaxation import relaxed as module
from eos_platform.models.relaxation.checkpointing import checkpointed
from eos_platform.models.relaxation.relaxed import carries, carries_faster, relaxed
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import SiteSpec

MASKED = ("gemma3",)


def sites() -> list[RelaxedSite]:
    made = [
        RelaxedSite.of(SiteSpec(layer=layer, keep=keep, score={"norm": 1.0}, beta=0.7))
        for layer, keep in ((0, 6), (2, 3))
    ]
    for site in made:
        site.count.requires_grad_()
        site.weights.requires_grad_()
    return made


def outcome(model: Any, prefill: Any, carried: bool, again: bool = False) -> tuple[torch.Tensor, list[torch.Tensor]]:
    made = sites()
    with (
        checkpointed(model, again),
        relaxed(model, made, prefill.layout, temperature=0.5, hard=False, candidates=12, tokens=16, carried=carried),
    ):
        output = adapter_of(model).forward(prefill)
        there = output[prefill.layout.text_bs]
        torch.manual_seed(0)
        (there * torch.randn_like(there)).sum().backward()
    return there.detach(), [value.grad for site in made for value in (site.count, site.weights)]


@pytest.mark.parametrize("name", SAMPLES)
def test_every_family_that_carries(name: str) -> None:
    model = built(SAMPLES[name])
    if not carries(parts_of(model)):
        pytest.skip("masks of its own")
    sample = SAMPLES[name]
    prefill = adapter_of(model).encode(prompts(sample, [[sample.sizes[0]]] * 2, (5, 8), seed=3))
    expected, gradients = outcome(model, prefill, carried=False)
    for again in (False, True):
        found, others = outcome(model, prefill, carried=True, again=again)
        assert torch.allclose(found, expected, atol=1e-4)
        for one, two in zip(gradients, others, strict=True):
            assert one.abs().max() > 0
            assert torch.allclose(one, two, rtol=1e-3, atol=1e-4)
    assert not carries_faster(parts_of(model))  # small, and on no GPU


@pytest.mark.parametrize("faster", [False, True])
def test_where_nobody_says_how_it_is_carried_the_faster_way_is_taken(
    monkeypatch: pytest.MonkeyPatch, faster: bool
) -> None:
    model = built(SAMPLES["LLaVA-1.5"])
    prefill = adapter_of(model).encode(
        prompts(SAMPLES["LLaVA-1.5"], [[SAMPLES["LLaVA-1.5"].sizes[0]]] * 2, (5, 8), seed=3)
    )
    asked: list[bool] = []

    class Noted(module.Relaxation):
        def __init__(self, *given: Any) -> None:
            asked.append(given[-1])
            super().__init__(*given)

    monkeypatch.setattr(module, "carries_faster", lambda parts: faster)
    monkeypatch.setattr(module, "Relaxation", Noted)
    for said in (None, True, False):
        with relaxed(
            model, sites(), prefill.layout, temperature=0.5, hard=False, candidates=12, tokens=16, carried=said
        ):
            pass
    assert asked == [faster, True, False]
