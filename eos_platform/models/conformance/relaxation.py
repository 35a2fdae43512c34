"""Checks of what a search does to a model: prompts encoded by the model's own body, tokens that fade, gradients.

Legend: b batch, s prompt, v vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from eos_platform.models.adapters.adapter import Adapter, adapter_of
from eos_platform.models.adapters.prefill import Prefill
from eos_platform.models.adapters.target import target_of
from eos_platform.models.conformance.registry import Checks
from eos_platform.models.conformance.runs import CLOSE
from eos_platform.models.conformance.subjects import built, fresh
from eos_platform.models.conformance.zoo import Sample, prompts
from eos_platform.models.relaxation.relaxed import relaxed
from eos_platform.models.runtime.attach import attached, reducing
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import FEATURES, SEARCHED, OperatorSpec, SiteSpec, Target

CHECKS = Checks()
LAYERS = (0, 2)


def alike(sample: Sample) -> dict[str, dict[str, Any]]:
    """Batches whose prompts are alike in their pictures, and differ in length: of one picture, of each size; of two."""
    cases = {f"one of {size}": prompts(sample, [[size], [size]], (5, 8), seed=3) for size in sample.sizes}
    cases["two"] = prompts(sample, [[sample.sizes[0], sample.sizes[-1]]] * 2, (7, 4), seed=4)
    if sample.video:
        cases["film"] = prompts(sample, [[], []], (4, 6), films=2)
    return cases


def encoded(sample: Sample, attention: str = "sdpa") -> Iterator[tuple[str, Adapter, dict[str, Any], Prefill]]:
    """Each of these batches as its language model gets it."""
    adapter = adapter_of(built(sample, attention))
    for name, inputs in alike(sample).items():
        yield f"{name} ({attention})", adapter, inputs, adapter.encode(inputs)


@CHECKS.check("encoded = own call")
def encodes(sample: Sample) -> int:
    """The language model called with what was encoded gives the model's own logits, capped ones too."""
    tried = 0
    for attention in ("sdpa", "eager"):
        for name, adapter, inputs, prefill in encoded(sample, attention):
            there = inputs["attention_mask"].bool()
            with torch.no_grad():
                expected = adapter.model(**inputs).logits
                output = adapter.logits(adapter.forward(prefill))
                kept = {**inputs, "mm_encoder_outputs": {"image": adapter.images(inputs)}} if "film" not in name else {}
                if kept:
                    del kept["pixel_values"]
                    again = adapter.encode(kept)
                    assert torch.equal(again.x_bsd, prefill.x_bsd), f"{name}: pictures encoded before"
                    assert again.layout.units == prefill.layout.units
            assert torch.allclose(output[there], expected[there], **CLOSE), name
            tried += 1
    model = fresh(sample)
    for config in (model.config, model.config.get_text_config()):
        config.final_logit_softcapping = 2.0
    inputs = prompts(sample, [[sample.sizes[0]]])
    adapter = adapter_of(model)
    with torch.no_grad():
        output = adapter.logits(adapter.forward(adapter.encode(inputs)))
        assert torch.allclose(output, model(**inputs).logits, **CLOSE), "with a cap on logits"
    return tried + 1


@CHECKS.check("relaxed identity")
def identity(sample: Sample) -> int:
    """Hard relaxed sites that keep everything give the untouched model."""
    tried = 0
    for attention in ("sdpa", "eager"):
        for name, adapter, inputs, prefill in encoded(sample, attention):
            target = target_of(adapter.model)
            with torch.no_grad():
                expected = adapter.forward(prefill)
                for layer, scope in itertools.product(LAYERS, _scopes(name)):
                    fields = {"layer": layer, "scope": scope, "keep": target.tokens, "score": {"mean_text": 1.0}}
                    site = SiteSpec.model_validate({**fields, "beta": 1.0})
                    with relaxed(
                        adapter.model, [RelaxedSite.of(site)], prefill.layout, temperature=0.03, hard=True
                    ) as trace:
                        output = adapter.forward(prefill)
                    there = inputs["attention_mask"].bool()
                    assert torch.allclose(output[there], expected[there], **CLOSE), f"{name}, layer {layer}"
                    assert float(trace.counts[0]) == prefill.layout.visual_bn.shape[1]
                    tried += 1
    return tried


def _scopes(name: str) -> tuple[str, ...]:
    """What is reduced together in a batch of this name."""
    return ("frame", "film") if name.startswith("film") else ("frame",)


def _sites(target: Target, scope: str = "frame") -> tuple[SiteSpec, ...]:
    """Reducing twice, the first time a lot, by scores that masks and positions have a part in."""
    across = {"change": 0.3} if scope == "film" else {}
    merge = {"gamma": 0.9, "tau": 0.1}
    most, least = max(2, target.tokens // 2), max(1, target.tokens // 4)
    return (
        SiteSpec.model_validate(
            {
                "layer": 0,
                "scope": scope,
                "keep": most,
                "score": {"norm": 1.0, "mean_text": 0.5, **across},
                "beta": 0.7,
                "transfer": merge,
            }
        ),
        SiteSpec.model_validate(
            {"layer": 2, "scope": scope, "keep": least, "score": {"last_text": 1.0}, "transfer": merge, "rho": 0.2}
        ),
    )


@CHECKS.check("relaxed = deployed")
def hard(sample: Sample) -> int:
    """Hard relaxed sites give what the deployed operator gives: to prompts encoded before, and on the whole model."""
    tried = 0
    for attention, batches in (("sdpa", None), ("eager", 1)):
        for name, adapter, inputs, prefill in itertools.islice(encoded(sample, attention), batches):
            model, target = adapter.model, target_of(adapter.model)
            for first, scope in itertools.product(LAYERS, _scopes(name)):
                sites = tuple(site for site in _sites(target, scope) if site.layer >= first)
                operator = OperatorSpec(target=target, sites=sites)
                last = prefill.layout.last_b
                rows = torch.arange(len(last))
                few = (target.tokens * 3 + 3) // 4
                with torch.no_grad():
                    with attached(model, operator):
                        whole = model(**inputs).logits[rows, last]
                    with reducing(model, operator, prefill.layout):
                        deployed = adapter.logits(adapter.forward(prefill))[rows, last]
                    assert torch.allclose(deployed, whole, **CLOSE), f"{name}, sites from {first}: encoded before"
                    for candidates in (None, few):
                        with relaxed(
                            model,
                            [RelaxedSite.of(site) for site in sites],
                            prefill.layout,
                            temperature=0.03,
                            hard=True,
                            candidates=candidates,
                        ):
                            output = adapter.logits(adapter.forward(prefill))[rows, last]
                        assert torch.allclose(output, whole, **CLOSE), (
                            f"{name}, by {scope}, sites from {first}, {candidates} candidates:"
                            f" {(output - whole).abs().max()}"
                        )
                        tried += 1
    return tried


@CHECKS.check("relaxed gradients")
def gradients(sample: Sample) -> int:
    """Soft sites teach every parameter, with finite gradients, whether or not tokens leave."""
    tried = 0
    for name, adapter, _, prefill in encoded(sample):
        tokens = target_of(adapter.model).tokens
        for candidates, scope in itertools.product((None, max(2, (3 * tokens) // 4)), _scopes(name)):
            sites = [_leaves(layer, share * tokens, scope) for layer, share in ((0, 0.6), (2, 0.3))]
            with relaxed(adapter.model, sites, prefill.layout, temperature=0.3, hard=False, candidates=candidates):
                hidden_bsd = adapter.forward(prefill)
            rows = torch.arange(len(hidden_bsd))
            loss = adapter.logits(hidden_bsd[rows, prefill.layout.last_b]).logsumexp(-1).sum()
            names = ("count", "weights", "gamma", "tau", "nu", "rho", "beta")
            gradients_found = torch.autograd.grad(loss, [getattr(site, one) for site in sites for one in names])
            for parameter, grad in zip(names * len(sites), gradients_found, strict=True):
                assert torch.isfinite(grad).all(), f"{name}: {parameter}"
                assert (grad != 0).any(), f"{name}: {parameter} has no gradient"
            tried += 1
    return tried


def _leaves(layer: int, count: float, scope: str) -> RelaxedSite:
    def leaf(value: Any) -> Tensor:
        return torch.tensor(value, requires_grad=True)

    mixed = SEARCHED if scope == "film" else FEATURES
    weights = [{"last_text": 0.5, "mean_text": -0.4, "norm": 0.2}.get(name, 0.1) for name in mixed]
    return RelaxedSite(
        layer=layer,
        count=leaf(count),
        weights=leaf(weights),
        gamma=leaf(0.8),
        tau=leaf(0.3),
        nu=leaf(0.7),
        rho=leaf(0.2),
        beta=leaf(0.5),
        source="importance",
        scope="film" if scope == "film" else "frame",
        features=mixed,
    )
