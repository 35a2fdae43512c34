"""Operators on models whose modules are on several devices: pretended ones, and weights that accelerate offloads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pretended import FIRST, SECOND, Pretended, pretending, spread
from spreading import halves, turns
from torch import nn

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.target import target_of
from eos_platform.models.conformance.runs import cached
from eos_platform.models.conformance.subjects import batches, built, fresh, specs
from eos_platform.models.conformance.zoo import SAMPLES
from eos_platform.models.decoding.prompt import Prompt
from eos_platform.models.decoding.repeated_tokens import images_ahead, positions_ahead
from eos_platform.models.loading.devices import device_of, moved
from eos_platform.models.relaxation.relaxed import relaxed
from eos_platform.models.runtime.attach import attached, reducing
from eos_platform.models.runtime.layout import find_layout
from eos_platform.models.vision.encoding import encode_images
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import OperatorSpec, SiteSpec

accelerate = pytest.importorskip("accelerate")
HALVES, TURNS = halves(FIRST, SECOND), turns(FIRST, SECOND)
_SPREAD: dict[tuple[str, Any, str], nn.Module] = {}


def spread_out(family: str, where: Any, hooks: str = "accelerate") -> Any:
    key = (family, where, hooks)
    if key not in _SPREAD:
        _SPREAD[key] = spread(fresh(SAMPLES[family]), where, hooks)
    return _SPREAD[key]


def on(inputs: dict[str, Any], device: torch.device) -> dict[str, Any]:
    return {name: value.to(device) for name, value in inputs.items()}


def same_on_both(family: str, where: Any, batch: str, operators: list[str], hooks: str = "accelerate") -> None:
    sample = SAMPLES[family]
    one, two, inputs = built(sample), spread_out(family, where, hooks), batches(sample)[batch]
    expected = []
    for name in operators:
        with attached(one, specs(one)[name]):
            expected.append(cached(one, inputs))
    with pretending():
        there = on(inputs, FIRST)
        for name, (tokens_bt, logits_btv) in zip(operators, expected, strict=True):
            with attached(two, specs(one)[name]):
                found_bt, found_btv = cached(two, there)
            assert torch.equal(found_bt.cpu(), tokens_bt), name
            assert torch.allclose(found_btv.cpu(), logits_btv, atol=1e-5), name


def test_tensors_of_two_devices_do_not_meet() -> None:
    """What the tests below rest on."""
    with pretending():
        a, b, host = torch.arange(3.0, device=FIRST), torch.ones(3, device=SECOND), torch.ones(3)
        assert isinstance(a, Pretended)
        assert (a.device, b.device) == (FIRST, SECOND)
        for mixed in (lambda: a + b, lambda: a @ b, lambda: torch.cat((a, b)), lambda: a + host, lambda: a.add_(b),
                      lambda: torch.where(b > 0, a, a), lambda: b.gather(0, a.long())):  # fmt: skip
            with pytest.raises(RuntimeError, match="same device"):
                mixed()
        assert (a + b.to(FIRST)).tolist() == [1, 2, 3]
        assert (2 * a[torch.tensor([1, 2])] + torch.tensor(1)).tolist() == [3, 5]
        assert a.cpu().device == torch.device("cpu")
        assert type(a.cpu()) is torch.Tensor


@pytest.mark.parametrize("family", SAMPLES)
def test_layers_on_two_devices(family: str) -> None:
    """Prompts of several pictures, padded; sites at layer 0 and later, with and without sizes."""
    same_on_both(family, HALVES, "several", ["many"])


# transformers itself does not run PaliGemma with its words on another device than its inputs
@pytest.mark.parametrize("family", [family for family in SAMPLES if family != "PaliGemma"])
def test_layers_on_devices_in_turns(family: str) -> None:
    same_on_both(family, TURNS, "padded", ["steered"], hooks="plain")


@pytest.mark.slow  # every operator, kind of batch and division: minutes
@pytest.mark.parametrize("hooks", ["accelerate", "plain"])
@pytest.mark.parametrize("where", [HALVES, TURNS])
@pytest.mark.parametrize("family", SAMPLES)
def test_every_operator_on_two_devices(family: str, where: Any, hooks: str) -> None:
    if family == "PaliGemma" and where is TURNS:
        pytest.skip("transformers itself does not run it so")
    for batch in batches(SAMPLES[family]):
        same_on_both(family, where, batch, list(specs(built(SAMPLES[family]))), hooks)


def test_what_one_layer_is_handed_is_moved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers of a device share what was moved there."""
    sample, seen = SAMPLES["LLaVA-1.5"], list[tuple[Any, ...]]()
    model = spread_out("LLaVA-1.5", HALVES)

    def look(module: Any, args: Any, call: dict[str, Any]) -> None:
        assert (
            call["attention_mask"].device
            == call["position_embeddings"][0].device
            == device_of(module.input_layernorm, FIRST)
        )
        seen.append((call["attention_mask"], *call["position_embeddings"]))

    with pretending(), attached(model, specs(built(sample))["merge at 0"]):
        hooks = [layer.register_forward_pre_hook(look, with_kwargs=True) for layer in model.model.language_model.layers]
        cached(model, on(batches(sample)["padded"], FIRST))
    for hook in hooks:
        hook.remove()
    for first, second in (seen[0:2], seen[2:4], seen[4:6], seen[6:8]):  # prefill and a step, on each device
        assert all(a is b for a, b in zip(first, second, strict=True))


TOWER = SiteSpec(place="tower", layer=1, keep=20, score={"vision": 1.0}, transfer={"gamma": 1.0}, beta=1.0)
READS = SiteSpec(
    layer=2, keep=8, score={"vision": 1.0, "next_vision": 0.5}, similarity="keys", selector="diverse_topk", spread=0.5
)


@pytest.mark.parametrize("where", [HALVES, TURNS])
@pytest.mark.parametrize("sites", [(READS,), (TOWER, READS)])
def test_what_is_done_and_read_in_a_vision_tower_elsewhere(where: Any, sites: tuple[SiteSpec, ...]) -> None:
    sample = SAMPLES["LLaVA-1.5"]
    one, two = built(sample), spread_out("LLaVA-1.5", where)
    operator, inputs = OperatorSpec(target=target_of(one), sites=sites), batches(sample)["padded"]
    with attached(one, operator):
        expected = cached(one, inputs)[1]
    with pretending(), attached(two, operator):
        assert torch.allclose(cached(two, on(inputs, FIRST))[1].cpu(), expected, atol=1e-5)


@pytest.mark.parametrize("where", [HALVES, TURNS])
@pytest.mark.parametrize("candidates", [None, 24])
def test_relaxed_sites_on_two_devices(where: Any, candidates: int | None) -> None:
    """What comes out, and the gradient of every parameter."""
    sample = SAMPLES["LLaVA-1.5"]
    inputs, width = batches(sample)["padded"], 64
    found = []
    for device in (None, FIRST):
        model: Any = built(sample) if device is None else spread_out("LLaVA-1.5", where)
        with pretending():
            place = torch.device("cpu") if device is None else device

            def leaf(value: float | list[float], place: torch.device = place) -> torch.Tensor:
                return torch.tensor(value).to(place).requires_grad_()

            sites = [
                RelaxedSite(
                    layer=layer, count=leaf(count), weights=leaf([0.3, 0.2, 0.1, 0.4, 0.5]), gamma=leaf(0.8),
                    tau=leaf(0.1), nu=leaf(0.6), rho=leaf(0.3), beta=leaf(0.9), positions="renumber",
                    probe=leaf([0.1] * width), steering=(leaf([[0.2] * width]), leaf([[0.3] * width])),
                )
                for layer, count in ((1, 18.0), (2, 9.0))
            ]  # fmt: skip
            there = on(inputs, place)
            with torch.no_grad():
                x_bsd = model.model.get_input_embeddings()(there["input_ids"])
                visual_mnd, vision = encode_images(model, there["pixel_values"])
                image_bs = there["input_ids"] == 99
                x_bsd = x_bsd.masked_scatter(image_bs[..., None], visual_mnd.to(x_bsd.device)).to(place)
            layout = find_layout(image_bs, there["attention_mask"].bool(), 36)
            vision.add_to(layout)
            call = {"inputs_embeds": x_bsd, "attention_mask": there["attention_mask"], "use_cache": False}
            with relaxed(model, sites, layout, temperature=0.3, hard=False, candidates=candidates) as trace:
                out_bsd = model.model.language_model(**call).last_hidden_state
            assert {count.device for count in trace.counts} == {place}
            (out_bsd[:, -1].square().mean().to(place) + sum(trace.counts)).backward()
        grads = [
            getattr(site, name).grad.cpu() for site in sites for name in ("weights", "gamma", "tau", "nu", "probe")
        ]
        found.append([out_bsd.detach().cpu()[:, -1], *(count.detach().cpu() for count in trace.counts), *grads])
    for one, two in zip(*found, strict=True):
        assert torch.allclose(one, two, atol=1e-4, rtol=1e-3)


def test_direct_calls_with_a_layout_elsewhere() -> None:
    """The layout where the words are, the embeddings where the first layer is."""
    sample = SAMPLES["LLaVA-1.5"]
    one, two, inputs = built(sample), spread_out("LLaVA-1.5", HALVES), batches(sample)["padded"]
    operator = specs(one)["many"]
    layout = find_layout(inputs["input_ids"] == 99, inputs["attention_mask"].bool(), 36)
    x_bsd = torch.randn(*inputs["input_ids"].shape, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), reducing(one, operator, layout):
        expected = one.model.language_model(inputs_embeds=x_bsd).last_hidden_state
    with torch.no_grad(), pretending(), reducing(two, operator, moved(layout, SECOND)):
        found = two.model.language_model(inputs_embeds=x_bsd.to(FIRST)).last_hidden_state
    assert torch.allclose(found.cpu(), expected, atol=1e-5)


def test_positions_of_later_steps_that_come_to_another_device() -> None:
    """How far several axes are ahead was noted where the prompt's positions were."""
    with pretending():
        prompt = Prompt(9, ahead_b1=torch.tensor([[-4]]).to(FIRST))
        call = {"position_ids": torch.full((4, 1, 2), 9).to(SECOND)}
        positions_ahead(prompt, call)
        assert call["position_ids"].device == SECOND
        assert call["position_ids"][:, 0, 0].tolist() == [9, 5, 5, 5]
        images_ahead(prompt, call["position_ids"], torch.tensor([[11]]).to(FIRST))
        assert prompt.ahead_b1 is not None
        assert (prompt.ahead_b1.device, prompt.ahead_b1.tolist()) == (SECOND, [[-5]])


WAYS = ["leaves", "layers", "disk"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", ["LLaVA-1.5", "Qwen3-VL", "Gemma 3"])
def test_weights_that_accelerate_offloads(family: str, way: str, tmp_path: Any) -> None:
    """Between the calls of their modules they are on ``meta``; a site reads its layer's before the layer is called."""
    sample = SAMPLES[family]
    one, two, inputs = built(sample), fresh(sample), batches(sample)["several"]
    kind = type(two.model.language_model.layers[0]).__name__
    if way == "disk":
        accelerate.disk_offload(two, tmp_path, execution_device=torch.device("cpu"))
    else:
        more = {"preload_module_classes": [kind]} if way == "layers" else {}
        accelerate.cpu_offload(two, execution_device=torch.device("cpu"), **more)
    weight = two.model.language_model.layers[1].self_attn.q_proj.weight
    assert weight.is_meta
    for name in ["many"]:
        with attached(one, specs(one)[name]):
            expected = cached(one, inputs)[1]
        with attached(two, specs(one)[name]):
            assert torch.allclose(cached(two, inputs)[1], expected, atol=1e-5)
    assert two.model.language_model.layers[1].self_attn.q_proj.weight.is_meta


def test_weights_that_are_not_there_are_one_error() -> None:
    """Offloaded by hooks of another kind, which load a layer only for its own forward."""
    model = fresh(SAMPLES["LLaVA-1.5"])
    layer = model.model.language_model.layers[1]
    layer.self_attn.to("meta")
    with attached(model, specs(model)["prune"]), pytest.raises(EosError, match="reads attention weights"):
        model(**batches(SAMPLES["LLaVA-1.5"])["one"])


def test_devices_of_modules() -> None:
    assert device_of(nn.LayerNorm(2), SECOND) == torch.device("cpu")
    assert device_of(nn.LayerNorm(2, elementwise_affine=False), SECOND) == SECOND
    assert device_of(nn.LayerNorm(2, device="meta"), SECOND) == SECOND
    with pretending():
        whole = {"a": (torch.ones(2, device=FIRST), None, 3), "b": torch.ones(1, device=SECOND)}
        assert moved(whole, FIRST)["b"].device == FIRST
        assert moved(whole["a"], FIRST) is whole["a"]
