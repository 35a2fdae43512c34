"""Which kinds of attention an operator, or a search, is refused on, and what is said."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from flash_kernels import flash
from transformers import MistralConfig
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.target import target_of
from eos_platform.models.conformance.subjects import batches, specs
from eos_platform.models.conformance.zoo import SAMPLES
from eos_platform.models.relaxation.relaxed import relaxed
from eos_platform.models.runtime.attach import attached
from eos_platform.models.runtime.layout import Layout
from eos_platform.operators.spec import OperatorSpec, SiteSpec


def refused(model: Any, operator: OperatorSpec, *words: str) -> None:
    with pytest.raises(EosError) as raised, attached(model, operator):
        pass
    for word in (*words, "attn_implementation='sdpa'"):
        assert word in str(raised.value)


def test_sizes_in_the_tower_are_refused() -> None:
    model = flash("LLaVA-1.5")
    inside = SiteSpec(place="tower", layer=1, keep=9, beta=1.0, score={"norm": 1.0})
    operator = OperatorSpec(name="sized", target=target_of(model), sites=(inside,))
    refused(model, operator, "'sized'", "sites.0: beta 1", "'flash_attention_2'", "inside the vision tower")
    model.model.vision_tower.config._attn_implementation = "sdpa"
    with attached(model, operator):
        pass


def test_sizes_in_heads_without_room_are_refused() -> None:
    model = flash("LLaVA-1.5")
    sites = [SiteSpec(layer=1, keep=20, score={"norm": 1.0}), SiteSpec(layer=2, keep=9, beta=0.5, score={"norm": 1.0})]
    operator = OperatorSpec(target=target_of(model), sites=tuple(sites))
    attention = model.model.language_model.layers[0].self_attn
    attention.head_dim = 256
    refused(model, operator, "sites.1: beta 0.5", "'flash_attention_2'", "256 dimensions: 8 more")
    attention.head_dim = 248
    with attached(model, operator):
        pass
    model.config._attn_implementation = "flash_attention_4"  # whose kernels end sooner on some devices
    attention.head_dim = 128
    refused(model, operator, "128 dimensions: 8 more")
    attention.head_dim = 64
    with attached(model, operator):
        pass
    del attention.head_dim
    refused(model, operator, "how wide its heads are")
    model.model.language_model.config.attn_logit_softcapping = 30.0
    refused(model, operator, "logits are capped")


@pytest.mark.parametrize("name", ["pool", "prune"])
@pytest.mark.parametrize("kinds", [("flash_attention_2", "sdpa"), ("sdpa", "flash_attention_2")])
def test_a_change_of_attention_under_an_operator_is_refused(name: str, kinds: tuple[str, str]) -> None:
    model = flash("LLaVA-1.5", "sdpa")
    config = model.model.language_model.config
    config._attn_implementation = kinds[0]
    with attached(model, specs(model)[name]):
        config._attn_implementation = kinds[1]
        with pytest.raises(EosError, match=f"is '{kinds[1]}' and was '{kinds[0]}'"):
            model(**batches(SAMPLES["LLaVA-1.5"])["one"])


def test_relaxed_sites_are_refused() -> None:
    model, row = flash("LLaVA-1.5"), torch.ones(1, 36, dtype=torch.bool)
    layout = Layout(torch.arange(36)[None], row, torch.tensor([35]), row)
    raised = pytest.raises(EosError, match=r"'flash_attention_2' is not supported by a search.*'sdpa'")
    with raised, relaxed(model, [], layout, temperature=1.0, hard=False):
        pass


@pytest.mark.parametrize("family", ["Gemma 3", "PaliGemma"])
def test_attention_both_ways_is_refused(family: str) -> None:
    model = flash(family)
    refused(model, OperatorSpec(target=target_of(model)), family, "both ways")


def test_windows_are_refused() -> None:
    model = flash("LLaVA-1.5")
    config = MistralConfig(sliding_window=7, hidden_size=64)
    config._attn_implementation = "flash_attention_2"
    model.model.language_model.config = config
    refused(model, OperatorSpec(target=target_of(model)), "back 7 tokens")
    config.sliding_window = None
    with attached(model, OperatorSpec(target=target_of(model))):
        pass


@pytest.mark.parametrize("kind", ["flex_attention", "paged|flash_attention_2", "kernels-community/metal-flash-sdpa"])
def test_unknown_kinds_are_refused(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    # as transformers registers that kernel
    monkeypatch.setitem(ALL_MASK_ATTENTION_FUNCTIONS._global_mapping, "kernels-community/metal-flash-sdpa", sdpa_mask)
    model = flash("LLaVA-1.5", kind)
    refused(model, OperatorSpec(target=target_of(model)), f"'{kind}' is not supported")
