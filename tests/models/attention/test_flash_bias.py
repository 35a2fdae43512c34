"""Sizes in spare dimensions of heads: as exact as a sum, and on a model no trace of them once they are off."""

from __future__ import annotations

import copy
import io
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from flash_kernels import flash, stand_in
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from eos_platform.models.attention.flash_bias import SPARE, widened
from eos_platform.models.conformance import relaxation
from eos_platform.models.conformance.checks import CHECKS
from eos_platform.models.conformance.runs import CLOSE, cached
from eos_platform.models.conformance.subjects import batches, built, specs
from eos_platform.models.conformance.zoo import SAMPLES
from eos_platform.models.runtime.attach import attach, attached, detach

# not "dropped by hand", nor a search: their masks are none that flash attention takes
NOT_MEANT = (
    *("dropped by hand", "torch.compile", "cache = no cache (eager)", *relaxation.CHECKS),
    # those are of eager attention
    *("call: attentions", "call: generate, hidden states and attentions", "rows read = own attention"),
)
MEANT = [name for name in CHECKS if name not in NOT_MEANT]
NAME = "LLaVA-1.5"


@pytest.fixture(autouse=True)
def called(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each of the stand-in's kernels was called."""
    return stand_in(monkeypatch)


def on_flash(family: str, kind: str) -> Any:
    model = SAMPLES[family].build("sdpa")
    model.config._attn_implementation = "flash_attention_2" if kind == "sdpa" else kind
    return model


def configs(model: Any) -> list[int]:
    """Which configs its modules point to."""
    return [id(module.config) for module in model.modules() if hasattr(module, "config")]


@pytest.mark.parametrize("scaling", [128**-0.5, 0.11])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_nothing_is_rounded(dtype: torch.dtype, scaling: float) -> None:
    query_bhqe, key_bgke, value_bgke = (torch.randn(2, heads, 5, 32).to(dtype) for heads in (4, 2, 2))
    bias_bp = torch.tensor([[1.0, 37.0, 2.5, 576.0], [2.0, 3.0, 7.0, 1.0]]).log()  # the fifth key came later
    assert (bias_bp.bfloat16() - bias_bp).abs().max() > 5e-3
    wider = widened(query_bhqe, key_bgke, value_bgke, bias_bp, scaling)
    assert all(each.dtype == dtype and each.shape[-1] == 32 + SPARE for each in wider)

    def logits(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bhqe,bhke->bhqk", query.double(), key.double().repeat_interleave(2, 1)) * scaling

    expected = logits(query_bhqe, key_bgke)
    expected[..., :4] += bias_bp[:, None, None].double()
    assert torch.allclose(logits(*wider[:2]), expected, atol=2e-6, rtol=0)
    # what runs in single precision may still be cast on the way to the kernel
    half = wider[1][..., 32:].to(torch.bfloat16)
    assert torch.allclose(half.float().sum(-1), wider[1][..., 32:].float().sum(-1), atol=1e-6, rtol=0)
    assert not wider[2][..., 32:].any()


@pytest.mark.parametrize("name", ["merge at 0", "pool", "many"])
@torch.no_grad()
def test_sizes_are_heard(name: str) -> None:
    model, inputs = flash(NAME), batches(SAMPLES[NAME])["padded"]
    operator, found = specs(model)[name], []
    plain = tuple(site.model_copy(update={"beta": 0.0}) for site in operator.sites)
    for one in (operator, operator.model_copy(update={"sites": plain})):
        with attached(model, one):
            found.append(cached(model, inputs)[1])
    assert (found[0] - found[1]).abs().max() > 0.05


@pytest.mark.parametrize("check", MEANT)
def test_conformance(called: Counter[str], check: str) -> None:
    sample = replace(SAMPLES[NAME], name=f"{NAME} on flash attention", build=lambda kind: on_flash(NAME, kind))
    assert CHECKS[check](sample)
    assert called


@torch.no_grad()
def test_configs_are_restored() -> None:
    model, inputs = flash(NAME), batches(SAMPLES[NAME])["padded"]
    before, logits = configs(model), model(**inputs).logits
    attach(model, specs(model)["pool"])
    changed = [old != new for old, new in zip(before, configs(model), strict=True)]
    assert sum(changed) == 2  # of four layers, those from the site on
    other = copy.deepcopy(model)
    detach(model)
    assert configs(model) == before
    assert torch.equal(model(**inputs).logits, logits)
    sizes = other(**inputs).logits
    detach(other)
    text = other.model.language_model
    assert all(layer.self_attn.config is text.config for layer in text.layers)
    assert torch.equal(other(**inputs).logits, logits)
    assert not torch.allclose(sizes, logits, **CLOSE)


@torch.no_grad()
def test_loaded_where_nothing_was_attached(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = flash(NAME), batches(SAMPLES[NAME])["one"]
    attach(model, specs(model)["pool"])
    file = io.BytesIO()
    torch.save(model, file)
    ours = model.model.language_model.layers[-1].self_attn.config._attn_implementation
    monkeypatch.delitem(ALL_ATTENTION_FUNCTIONS._global_mapping, ours)
    file.seek(0)
    other, sdpa = torch.load(file, weights_only=False), built(SAMPLES[NAME])
    with attached(sdpa, specs(sdpa)["pool"]):
        assert torch.allclose(other(**inputs).logits, sdpa(**inputs).logits, **CLOSE)
