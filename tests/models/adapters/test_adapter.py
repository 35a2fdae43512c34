"""The model as search and evaluation know it; prompts caught on their way to the language model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.adapters.prefill import caught
from eos_platform.models.adapters.target import target_of
from eos_platform.models.conformance.subjects import batches, built, specs
from eos_platform.models.conformance.zoo import SAMPLES, prompts
from eos_platform.models.relaxation.relaxed import relaxed
from eos_platform.models.relaxation.trace import kept_of
from eos_platform.models.runtime.attach import attached, reducing
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import OperatorSpec, SiteSpec


def two(family: str) -> tuple[Any, dict[str, Any]]:
    sample = SAMPLES[family]
    return built(sample), prompts(sample, [[sample.sizes[0], sample.sizes[-1]]] * 2, (7, 4))


def test_prompts_must_be_alike_in_their_pictures() -> None:
    for family in ("Qwen2.5-VL", "InternVL"):
        sample = SAMPLES[family]
        adapter = adapter_of(built(sample))
        for held in ([[sample.sizes[0]], [sample.sizes[-1]] * 2], [[sample.sizes[0]], []]):
            with pytest.raises(EosError, match="must be alike in how many images"):
                adapter.encode(prompts(sample, held, (5, 3)))
    with pytest.raises(EosError, match="come without images"):
        adapter.encode(prompts(sample, [[], []], (5, 3)))
    qwen = SAMPLES["Qwen2.5-VL"]
    with pytest.raises(EosError, match="must be alike in how many images"):
        adapter_of(built(qwen)).encode(batches(qwen)["padded"])


def test_nothing_is_encoded_with_an_operator_on_the_model() -> None:
    model, inputs = two("InternVL")
    with attached(model, specs(model)["prune"]), pytest.raises(EosError, match="already attached"):
        adapter_of(model).encode(inputs)


@torch.no_grad()
def test_what_is_caught_leaves_no_hook_and_no_layer_runs() -> None:
    model, inputs = two("Gemma 3")
    adapter = adapter_of(model)
    ran: list[int] = []
    hook = adapter.parts.layers[0].register_forward_pre_hook(lambda *_: ran.append(1))
    prefill = adapter.encode(inputs)
    hook.remove()
    assert not ran
    assert not adapter.parts.language_model._forward_pre_hooks
    assert set(prefill.mask or ()) == {"full_attention", "sliding_attention"}
    with pytest.raises(EosError, match="was not called"):
        caught(adapter.parts.language_model, lambda: None)
    # a layer's mask and rotary embeddings are those of its own kind
    sliding, full = adapter.layer_inputs(prefill, 0), adapter.layer_inputs(prefill, 2)
    assert isinstance(prefill.mask, dict)
    assert sliding.mask is not None
    assert full.mask is not None
    assert torch.equal(sliding.mask, prefill.mask["sliding_attention"])
    assert torch.equal(full.mask, prefill.mask["full_attention"])
    assert not torch.equal(sliding.mask, full.mask)
    assert not torch.allclose(sliding.rope.cos_bke, full.rope.cos_bke)


@torch.no_grad()
@pytest.mark.parametrize("family", SAMPLES)
def test_a_prefill_cut_short_and_steps_behind_it(family: str) -> None:
    sample = SAMPLES[family]
    adapter, inputs = adapter_of(built(sample)), prompts(sample, [[sample.sizes[0]]])
    prefill = adapter.encode(inputs)
    hidden_bsd = adapter.forward(prefill)
    last = int(prefill.layout.last_b[0])
    assert torch.allclose(adapter.start(prefill)[0], adapter.logits(hidden_bsd[:, -1:]), atol=2e-4)
    if not adapter.family.own_masks:  # else what follows is seen by what goes before
        assert torch.allclose(adapter.forward(prefill.until(last))[:, -1], hidden_bsd[:, last - 1], atol=2e-4)
    assert prefill.until(last).layout.valid_bs.shape == (1, last)


def test_capabilities() -> None:
    found = {name: adapter_of(built(sample)).capabilities for name, sample in SAMPLES.items()}
    assert all(one.relaxable for one in found.values())
    assert [name for name, one in found.items() if one.tower] == ["LLaVA-1.5"]
    assert {name for name, one in found.items() if not one.renumber} == {"Qwen2-VL", "Qwen2.5-VL", "Qwen3-VL"}
    assert found["Gemma 3"].kinds == ("sliding_attention", "full_attention")
    assert {name for name, one in found.items() if "video" in one.modalities} >= {"LLaVA-OneVision", "Qwen3-VL"}


def test_positions_of_several_axes_are_not_renumbered_by_a_search() -> None:
    model, inputs = two("Qwen3-VL")
    prefill = adapter_of(model).encode(inputs)
    site = RelaxedSite.of(SiteSpec(layer=0, keep=9, score={"norm": 1.0}, positions="renumber"))
    with pytest.raises(EosError, match="positions of several axes"):
        relaxed(model, [site], prefill.layout, temperature=0.1, hard=True).__enter__()


@torch.no_grad()
@pytest.mark.parametrize("family", ["Gemma 3", "LLaVA-NeXT", "SmolVLM"])
def test_renumbered_it_agrees_with_the_deployed_operator(family: str) -> None:
    """Rotary embeddings of each kind at positions counted anew."""
    model, inputs = two(family)
    adapter, target = adapter_of(model), target_of(model)
    keep = target.tokens // 2
    sites = (
        SiteSpec(layer=0, keep=keep, score={"norm": 1.0}, positions="renumber"),
        SiteSpec(layer=2, keep=keep // 2, score={"last_text": 1.0}, positions="renumber"),
    )
    prefill = adapter.encode(inputs)
    rows, last_b = torch.arange(2), prefill.layout.last_b
    with reducing(model, OperatorSpec(target=target, sites=sites), prefill.layout):
        expected = adapter.forward(prefill)[rows, last_b]
    with relaxed(model, [RelaxedSite.of(one) for one in sites], prefill.layout, temperature=0.03, hard=True):
        found = adapter.forward(prefill)[rows, last_b]
    assert torch.allclose(found, expected, atol=2e-4, rtol=1e-4)


@torch.no_grad()
def test_what_is_kept_of_several_units() -> None:
    model, inputs = two("LLaVA-NeXT")
    adapter, target = adapter_of(model), target_of(model)
    prefill = adapter.encode(inputs)
    site = SiteSpec(layer=1, keep=target.tokens // 2, selector="grid")
    (kept,) = kept_of(model, OperatorSpec(target=target, sites=(site,)), prefill)
    grids = [rows * columns for (rows, columns), many in prefill.layout.units for _ in range(many)]
    assert kept.origin_br.shape == (2, sum((count + 1) // 2 for count in grids))
    assert (kept.origin_br.diff(dim=1) > 0).all()
    assert int(kept.origin_br.max()) < sum(grids) == prefill.layout.visual_bn.shape[1]
