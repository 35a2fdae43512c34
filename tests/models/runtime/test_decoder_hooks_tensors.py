"""What an operator's hooks do to tensors: half precision, nothing that waits for the device, whole calls compiled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from eos_platform.models.attention.text_queries import question
from eos_platform.models.decoding.cache import cache_of, with_cache
from eos_platform.models.relaxation.relaxed import relaxed
from eos_platform.models.runtime.attach import attached, reducing
from eos_platform.models.runtime.layout import Layout
from eos_platform.models.vision.encoding import encode_images
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import OperatorSpec


def test_half_precision(small: Any, spec: OperatorSpec) -> None:
    """In bfloat16 both forms run, and the deployed one stays near its float32 self."""
    model = small.build()
    inputs = small.prompts(2, (9, 5))
    x, layout = small.embed(model, inputs)
    wide = model.model.language_model
    narrow = small.build().bfloat16()
    sites = [RelaxedSite.of(site) for site in spec.sites]
    with torch.no_grad():
        with reducing(model, spec, layout):
            expected = wide(inputs_embeds=x, attention_mask=inputs["attention_mask"]).last_hidden_state
        with reducing(narrow, spec, layout):
            found = narrow.model.language_model(inputs_embeds=x.bfloat16(), attention_mask=inputs["attention_mask"])
        with relaxed(narrow, sites, layout, temperature=0.1, hard=False):
            soft = narrow.model.language_model(inputs_embeds=x.bfloat16(), attention_mask=inputs["attention_mask"])
    assert found.last_hidden_state.dtype == soft.last_hidden_state.dtype == torch.bfloat16
    assert torch.isfinite(soft.last_hidden_state).all()
    error = (found.last_hidden_state.float() - expected)[layout.text_bs].abs().mean()
    assert error < 0.3 * expected[layout.text_bs].abs().mean()


def test_half_precision_with_what_methods_add(small: Any, wider: OperatorSpec) -> None:
    inputs = small.prompts(2, (9, 5))
    narrow = small.build().bfloat16()
    x, layout = small.embed(narrow, {**inputs, "pixel_values": inputs["pixel_values"].bfloat16()}, wider)
    with torch.no_grad(), reducing(narrow, wider, layout):
        found = narrow.model.language_model(inputs_embeds=x, attention_mask=inputs["attention_mask"])
    assert found.last_hidden_state.dtype == torch.bfloat16
    assert torch.isfinite(found.last_hidden_state).all()


def test_nothing_waits_for_the_device(small: Any, model: Any, spec: OperatorSpec) -> None:
    """Fake tensors hold no values: anything that asks for one, as a wait for the device would, raises."""

    def run(model: Any) -> None:
        x, layout = runs_blind(model, spec)
        sites = [RelaxedSite.of(site) for site in spec.sites]
        with relaxed(model, sites, layout, temperature=0.1, hard=True):
            output = model.model.language_model(inputs_embeds=x, use_cache=True).last_hidden_state
        assert output.shape == (2, 75, 64)

    run(model)  # what operators look up once and keep must be real
    with FakeTensorMode(allow_non_fake_inputs=True):
        run(small.build())


def test_nothing_waits_with_what_methods_add(small: Any, model: Any, wider: OperatorSpec) -> None:
    runs_blind(model, wider)
    with FakeTensorMode(allow_non_fake_inputs=True):
        runs_blind(small.build(), wider)


def runs_blind(model: Any, spec: OperatorSpec) -> tuple[Tensor, Layout]:
    """A prefill and a step, of tensors whose values nobody may ask for."""
    text_bs = torch.ones(2, 75, dtype=torch.bool)
    visual_bn = torch.arange(2, 66).repeat(2, 1)
    layout = Layout(visual_bn, text_bs, visual_bn[:, 0], text_bs)
    _, vision = encode_images(model, torch.ones(2, 3, 16, 16), spec, ("vision", "next_vision", "keys"))
    vision.add_to(layout)
    x = torch.ones(2, 75, 64)
    body = model.model.language_model
    with reducing(model, spec, layout):
        # with a cache and no mask, the model itself asks for no values either
        output = body(inputs_embeds=x, use_cache=True)
        step = body(inputs_embeds=x[:, :1], **with_cache(body, cache_of(output))).last_hidden_state
    assert output.last_hidden_state.shape == (2, 75, 64)
    assert step.shape == (2, 1, 64)
    return x, layout


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a .functools.lru_cache:UserWarning")
@pytest.mark.parametrize("steered", [True, False])
def test_a_whole_call_compiles_where_several_sites_have_probes(small: Any, model: Any, steered: bool) -> None:
    sites = [dict(site) for site in small.wider["steered"][1]]
    for site in sites:
        site["steering"] = site["steering"] if steered else None
        site["probe"] = [value + site["layer"] for value in site["probe"]]
    spec, inputs = small.operator(*sites), small.prompts(2, (9, 5))
    with torch.no_grad():
        x, layout = small.embed(model, inputs)

    def run(x_bsd: Tensor, mask_bs: Tensor) -> Tensor:
        return model.model.language_model(inputs_embeds=x_bsd, attention_mask=mask_bs, use_cache=False)[0]

    with torch.no_grad(), reducing(model, spec, layout):
        expected = run(x, inputs["attention_mask"])
        found = torch.compile(run, backend="aot_eager")(x, inputs["attention_mask"])
    assert torch.allclose(found, expected, atol=1e-5)
    torch.compiler.reset()


def test_the_question_is_the_prompts_and_never_in_half_precision(
    small: Any, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same whatever the padding, with an answer behind it, and under autocast; without text, nothing is turned."""
    found: list[Tensor] = []

    def heard(text_btd: Tensor, asks_bt: Tensor) -> Tensor:
        found.append(question(text_btd, asks_bt))
        return found[-1]

    monkeypatch.setattr("eos_platform.models.runtime.prompt_state.question", heard)
    inputs = small.prompts(2, (9, 5))
    ids, mask, pixels = inputs["input_ids"], inputs["attention_mask"], inputs["pixel_values"]
    order = mask.argsort(dim=1, descending=True, stable=True)
    right = {"input_ids": ids.gather(1, order), "attention_mask": mask.gather(1, order), "pixel_values": pixels}
    answer = torch.tensor([[11, 12, 13]] * 2)
    longer = {
        "input_ids": torch.cat([ids, answer], 1),
        "attention_mask": torch.cat([mask, torch.ones_like(answer)], 1),
        "pixel_values": pixels,
    }
    labels = torch.cat([torch.full_like(ids, -100), answer], 1)
    with torch.no_grad(), attached(model, small.operator(*small.wider["steered"][1])):
        model(**inputs)
        model(**right)
        model(**longer, labels=labels)
        with torch.autocast("cpu", torch.bfloat16):
            model(**inputs)
        model.generate(**inputs, max_new_tokens=2, num_beams=2)
        assert [len(q_bd) for q_bd in found] == [2, 2, 2, 2, 4]
        expected = found[0]
        assert float(expected.norm(dim=1).min()) > 0.1
        for q_bd in (*found[1:4], found[4][::2], found[4][1::2]):
            assert q_bd.dtype == torch.float32
            torch.testing.assert_close(q_bd, expected, rtol=1e-5, atol=1e-6)
        end = int((ids[0] == small.image).nonzero()[-1]) + 1
        alone = model(input_ids=ids[:1, :end], attention_mask=mask[:1, :end], pixel_values=pixels[:1]).logits
    assert not found[-1].any()
    static = [{**site, "steering": None} for site in small.wider["steered"][1]]
    with torch.no_grad(), attached(model, small.operator(*static)):
        plain = model(input_ids=ids[:1, :end], attention_mask=mask[:1, :end], pixel_values=pixels[:1]).logits
    assert torch.equal(alone, plain)
