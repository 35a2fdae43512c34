"""The relaxed operator becomes the deployed one, and teaches every parameter."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.models.attention.rope import soft_rope
from eos_platform.models.relaxation.relaxed import relaxed
from eos_platform.models.runtime.attach import attached, reducing
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import FEATURES, OperatorSpec, SiteSpec, Steering

TEXT = (9, 5)


def test_hard_relaxed_agrees_with_deployed(small: Any, model: Any, spec: OperatorSpec) -> None:
    x, layout = small.embed(model, small.prompts(2, TEXT))
    language_model = model.model.language_model
    mask = layout.valid_bs.long()
    with torch.no_grad():
        with reducing(model, spec, layout):
            expected = language_model(inputs_embeds=x, attention_mask=mask).last_hidden_state
        with relaxed(
            model, [RelaxedSite.of(site) for site in spec.sites], layout, temperature=0.03, hard=True
        ) as trace:
            found = language_model(inputs_embeds=x, attention_mask=mask).last_hidden_state
    assert torch.allclose(found[layout.text_bs], expected[layout.text_bs], atol=1e-4)
    assert [round(float(count)) for count in trace.counts] == [site.keep for site in spec.sites]


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("layer", [0, 2])
def test_each_feature_agrees(small: Any, model: Any, feature: str, layer: int) -> None:
    spec = small.operator(
        {"layer": layer, "keep": 12, "score": {feature: 1.0}, "beta": 1.0, "transfer": {"gamma": 1.0}},
        {"layer": 3, "keep": 5, "score": {feature: -1.0}, "positions": "renumber"},
    )
    x, layout = small.embed(model, small.prompts(2, TEXT))
    with torch.no_grad():
        with reducing(model, spec, layout):
            expected = model.model.language_model(inputs_embeds=x).last_hidden_state
        with relaxed(model, [RelaxedSite.of(site) for site in spec.sites], layout, temperature=0.03, hard=True):
            found = model.model.language_model(inputs_embeds=x).last_hidden_state
    assert torch.allclose(found[layout.text_bs], expected[layout.text_bs], atol=1e-4)


def leaf(value: float | list[float]) -> torch.Tensor:
    return torch.tensor(value, requires_grad=True)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("positions", ["keep", "renumber"])
def test_gradients_reach_every_parameter(small: Any, model: Any, hard: bool, positions: Any) -> None:
    x, layout = small.embed(model, small.prompts(2, TEXT))
    sites = [
        RelaxedSite(
            layer=layer,
            count=leaf(count),
            weights=leaf([0.5, -0.4, 0.3, 0.2, 0.1]),
            gamma=leaf(0.8),
            tau=leaf(0.3),
            nu=leaf(0.7),
            rho=leaf(0.2),
            beta=leaf(0.5),
            source="importance",
            positions=positions,
        )
        for layer, count in ((0, 40.0), (2, 20.0))
    ]
    with relaxed(model, sites, layout, temperature=0.3, hard=hard):
        output = model.model.language_model(inputs_embeds=x).last_hidden_state
    loss = model.lm_head(output[:, -1]).logsumexp(-1).sum()
    for site in sites:
        wanted = [site.count, site.weights, site.gamma, site.tau, site.nu, site.rho, site.beta]
        for name, grad in zip(
            RelaxedSite.__annotations__, torch.autograd.grad(loss, wanted, retain_graph=True), strict=False
        ):
            assert torch.isfinite(grad).all(), name
            assert (grad != 0).all(), name


def test_soft_positions_have_the_gradient_of_rotation(model: Any) -> None:
    rotary = model.model.language_model.rotary_emb
    position = torch.tensor([[0.0, 1.5, 3.25]], requires_grad=True)
    x = torch.zeros(1, 3, 64)
    rope = soft_rope(rotary, x, position)
    (grad,) = torch.autograd.grad(rope.cos_bke.sum() + 2 * rope.sin_bke.sum(), position)
    step = 1e-3
    with torch.no_grad():
        up, down = soft_rope(rotary, x, position + step), soft_rope(rotary, x, position - step)
    slope = ((up.cos_bke - down.cos_bke) + 2 * (up.sin_bke - down.sin_bke)).sum(-1) / (2 * step)
    assert torch.allclose(grad, slope, atol=1e-2, rtol=1e-3)


def test_soft_counts_are_those_wanted(small: Any, model: Any) -> None:
    spec = small.operator({"layer": 1, "keep": 20, "score": {"norm": 1.0}})
    x, layout = small.embed(model, small.prompts())
    site = RelaxedSite.of(spec.sites[0])
    site.count = torch.tensor(23.5)
    with torch.no_grad(), relaxed(model, [site], layout, temperature=0.2, hard=False) as trace:
        model.model.language_model(inputs_embeds=x)
    assert float(trace.counts[0]) == pytest.approx(23.5, abs=0.2)


def test_nothing_is_left_behind(small: Any, model: Any) -> None:
    spec = small.operator({"layer": 1, "keep": 20, "score": {"norm": 1.0}})
    x, layout = small.embed(model, small.prompts())
    before = model.model.language_model(inputs_embeds=x).last_hidden_state
    with (
        pytest.raises(RuntimeError, match="stop"),
        relaxed(model, [RelaxedSite.of(spec.sites[0])], layout, temperature=0.1, hard=True),
    ):
        raise RuntimeError("stop")
    assert torch.equal(model.model.language_model(inputs_embeds=x).last_hidden_state, before)
    assert not any(layer._forward_pre_hooks for layer in model.model.language_model.layers)


def test_refusals(small: Any, model: Any) -> None:
    spec = small.operator({"layer": 1, "keep": 20, "score": {"norm": 1.0}})
    site = RelaxedSite.of(spec.sites[0])
    _x, layout = small.embed(model, small.prompts())
    with attached(model, spec), pytest.raises(EosError, match="already attached"):
        relaxed(model, [site], layout, temperature=0.1, hard=True).__enter__()
    late = RelaxedSite.of(spec.sites[0])
    late.layer = 4
    with pytest.raises(EosError, match=r"sites\.0: layer 4 is beyond the model's last decoder layer \(3\)"):
        relaxed(model, [late], layout, temperature=0.1, hard=True).__enter__()
    layout.visual_bn = layout.visual_bn[:, :10]
    with pytest.raises(EosError, match="10 visual tokens"):
        relaxed(model, [site], layout, temperature=0.1, hard=True).__enter__()


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("selector", ["score", "diverse_topk"])
@pytest.mark.parametrize(("positions", "steered"), [("keep", False), ("renumber", False), ("keep", True)])
def test_with_few_candidates_it_still_agrees_with_deployed(
    small: Any, model: Any, first: int, selector: str, positions: str, steered: bool
) -> None:
    matrices = torch.randn(2, 3, 64, generator=torch.Generator().manual_seed(first))
    transfer = {"gamma": 0.9, "tau": 0.1}
    spec = small.operator(
        {
            "layer": first,
            "keep": 12,
            "selector": selector,
            "score": {"norm": 1.0},
            "spread": 1.5,
            "probe": [0.5, -0.5] * 32,
            "steering": Steering.of(*matrices) if steered else None,
            "transfer": transfer,
            "beta": 0.7,
            "positions": positions,
        },
        {"layer": 3, "keep": 5, "score": {"mean_text": 1.0}, "positions": positions, "transfer": transfer},
    )
    x, layout = small.embed(model, small.prompts(2, TEXT))
    language_model, sites = model.model.language_model, [RelaxedSite.of(site) for site in spec.sites]
    with torch.no_grad():
        with reducing(model, spec, layout):
            expected = language_model(inputs_embeds=x, attention_mask=layout.valid_bs.long()).last_hidden_state
        with relaxed(model, sites, layout, temperature=0.03, hard=True, candidates=20) as trace:
            found = language_model(inputs_embeds=x, attention_mask=layout.valid_bs.long()).last_hidden_state
        with relaxed(model, sites, layout, temperature=0.01, hard=False) as whole:
            language_model(inputs_embeds=x, attention_mask=layout.valid_bs.long())
        with relaxed(model, sites, layout, temperature=0.01, hard=False, candidates=20) as few:
            language_model(inputs_embeds=x, attention_mask=layout.valid_bs.long())
    assert [presence.shape[1] for presence in trace.presence] == [20, 20]
    assert torch.allclose(found[layout.text_bs], expected[layout.text_bs], atol=1e-4)
    assert [float(count) for count in few.counts] == pytest.approx([float(count) for count in whole.counts], abs=0.02)


def test_sites_out_of_order_are_named(small: Any, model: Any) -> None:
    _, layout = small.embed(model, small.prompts())
    sites = [RelaxedSite.of(SiteSpec(layer=layer, keep=20, score={"norm": 1.0})) for layer in (3, 1)]
    with pytest.raises(EosError, match=r"sites\.1: layer 1 comes after layer 3"):  # noqa: SIM117
        with relaxed(model, sites, layout, temperature=1.0, hard=False):
            pass
