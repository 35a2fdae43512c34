"""The deployed operator computes what it says, in one call and while generating."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from eos_platform.common.errors import EosError
from eos_platform.models.attention.text_queries import question
from eos_platform.models.conformance.subjects import built, specs
from eos_platform.models.conformance.zoo import SAMPLES, prompts
from eos_platform.models.decoding.cache import cache_of, with_cache
from eos_platform.models.relaxation.relaxed import relaxed
from eos_platform.models.runtime.attach import attached, reducing
from eos_platform.models.runtime.layout import Layout
from eos_platform.models.vision.encoding import encode_images
from eos_platform.operators.relaxed.site import RelaxedSite
from eos_platform.operators.spec import OperatorSpec


def generates_alike(small: Any, model: Any, inputs: dict[str, Tensor], spec: OperatorSpec) -> None:
    tokens, logits = small.greedy(model, inputs, spec)
    with attached(model, spec):
        for _ in range(2):  # and again: calls in a row share nothing
            found = model.generate(
                **inputs, max_new_tokens=small.new, do_sample=False, return_dict_in_generate=True, output_logits=True
            )
            assert torch.allclose(torch.stack(found.logits, 1), logits, atol=2e-4)
            assert torch.equal(found.sequences[:, -small.new :], tokens)


@pytest.mark.parametrize("text", [(6,), (9, 5)], ids=["one", "left-padded"])
@pytest.mark.parametrize("kind", ["model", "eager"])
def test_generate_equals_the_run_without_cache(
    small: Any, request: pytest.FixtureRequest, spec: OperatorSpec, kind: str, text: tuple[int, ...]
) -> None:
    model = request.getfixturevalue(kind)
    inputs = small.prompts(len(text), text)
    generates_alike(small, model, inputs, spec)


@pytest.mark.parametrize("text", [(6,), (9, 5)], ids=["one", "left-padded"])
@pytest.mark.parametrize("kind", ["model", "eager"])
def test_generate_equals_it_with_what_methods_add(
    small: Any, request: pytest.FixtureRequest, wider: OperatorSpec, kind: str, text: tuple[int, ...]
) -> None:
    generates_alike(small, request.getfixturevalue(kind), small.prompts(len(text), text), wider)


@pytest.mark.parametrize("name", ["many", "two at 0", "renumber", "tower", "image, tower, decoder"])
def test_beam_search_scores_what_it_says(small: Any, model: Any, name: str) -> None:
    inputs = small.prompts(2, (9, 5))
    image, sites = (None, small.sites[name]) if name in small.sites else small.wider[name]
    spec = small.operator(*sites, image=image)
    with attached(model, spec):
        found = model.generate(
            **inputs,
            max_new_tokens=4,
            num_beams=3,
            do_sample=False,
            length_penalty=0.0,
            return_dict_in_generate=True,
            output_scores=True,
        )
        kept = model.compute_transition_scores(
            found.sequences, found.scores, found.beam_indices, normalize_logits=False
        )
        assert torch.allclose(kept.sum(1), found.sequences_scores, atol=1e-4)
    # the beams' own score, recomputed without cache and with the prompt's choice
    new = found.sequences[:, -4:]
    x, layout = small.embed(model, inputs, spec)
    x = torch.cat((x, model.get_input_embeddings()(new)), 1)
    longer = small.lengthened(layout, 4)
    mask = longer.valid_bs.long()
    with reducing(model, spec, longer), torch.no_grad():
        output = model.model.language_model(
            inputs_embeds=x, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)
        )
    logprob = model.lm_head(output.last_hidden_state[:, -5:-1]).log_softmax(-1)
    total = logprob.gather(2, new[:, :, None]).sum((1, 2))
    assert torch.allclose(total, found.sequences_scores, atol=5e-4)


def test_pruning_equals_dropping_the_tokens_by_hand(small: Any, model: Any) -> None:
    """The obvious way: full attention of layer 1 for the scores, the tokens cut out, the rest run layer by layer."""
    layer_number, keep = 1, 20
    inputs = small.prompts()
    x, layout = small.embed(model, inputs)
    body = model.model.language_model
    length = x.shape[1]

    def rope(positions: Tensor) -> Any:
        return body.rotary_emb(x, positions[None])

    def run(hidden: Tensor, positions: Tensor, layers: Any) -> Tensor:
        count = len(positions)
        causal = torch.ones(count, count).tril().bool()[None, None]
        for layer in layers:
            hidden = layer(hidden, attention_mask=causal, position_embeddings=rope(positions))
        return hidden

    with torch.no_grad():
        every = torch.arange(length)
        hidden = run(x, every, body.layers[:layer_number])
        attention = body.layers[layer_number].self_attn
        normed = body.layers[layer_number].input_layernorm(hidden)
        cos, sin = rope(every)

        def heads(projected: Tensor) -> Tensor:
            split = projected.view(1, length, -1, attention.head_dim).transpose(1, 2)
            half = attention.head_dim // 2
            return split * cos + torch.cat((-split[..., half:], split[..., :half]), -1) * sin

        query, key = heads(attention.q_proj(normed)), heads(attention.k_proj(normed)).repeat_interleave(2, 1)
        weights = query @ key.transpose(2, 3) / attention.head_dim**0.5
        weights = weights.masked_fill(~torch.ones(length, length).tril().bool(), -torch.inf).softmax(-1).mean(1)[0]
        score = weights[-1, layout.visual_bn[0]]
        gone = layout.visual_bn[0, score.argsort(descending=True)[keep:]]
        left = torch.tensor([slot for slot in range(length) if slot not in gone.tolist()])
        expected = body.norm(run(hidden[:, left], left, body.layers[layer_number:]))
    spec = small.operator({"layer": layer_number, "keep": keep, "score": {"last_text": 1.0}})
    with attached(model, spec), torch.no_grad():
        logits = model(**inputs).logits
    with reducing(model, spec, layout), torch.no_grad():
        found = body(inputs_embeds=x).last_hidden_state
    assert torch.allclose(found[:, left], expected, atol=1e-5)
    assert (found[:, gone] == 0).all()
    assert torch.allclose(logits[:, left], model.lm_head(expected), atol=1e-4)


def test_outputs_keep_the_length_and_labels_line_up(small: Any, model: Any) -> None:
    """With labels, the answer neither asks nor counts as the prompt's last token."""
    inputs = small.prompts(2, (9, 9))
    labels = inputs["input_ids"].clone()
    labels[:, :-3] = -100
    spec = small.operator(*small.sites["text at 0"], {"layer": 2, "keep": 8, "score": {"last_text": 1.0}})
    x, layout = small.embed(model, inputs)
    layout.text_bs[:, -3:] = False
    layout.last_b -= 3
    with reducing(model, spec, layout), torch.no_grad():
        hidden = model.model.language_model(inputs_embeds=x, attention_mask=inputs["attention_mask"]).last_hidden_state
    with attached(model, spec), torch.no_grad():
        output = model(**inputs, labels=labels)
    assert output.logits.shape[:2] == inputs["input_ids"].shape
    expected = model.lm_head(hidden)
    assert torch.allclose(output.logits[:, -4:], expected[:, -4:], atol=1e-5)
    loss = torch.nn.functional.cross_entropy(expected[:, -4:-1].flatten(0, 1), labels[:, -3:].flatten())
    assert output.loss.item() == pytest.approx(loss.item(), abs=1e-4)


@pytest.mark.parametrize("text", [(6,), (9, 5)], ids=["one", "left-padded"])
def test_several_new_tokens_at_once_equal_one_by_one(
    small: Any, model: Any, spec: OperatorSpec, text: tuple[int, ...]
) -> None:
    """A second turn of a conversation goes on from the reduced cache."""
    goes_on_alike(small, model, spec, text)


def test_a_second_turn_with_what_methods_add(small: Any, model: Any, wider: OperatorSpec) -> None:
    goes_on_alike(small, model, wider, (9, 5))


def goes_on_alike(small: Any, model: Any, spec: OperatorSpec, text: tuple[int, ...]) -> None:
    inputs = small.prompts(len(text), text)
    turn = torch.tensor([[5, 17, 60]]).expand(len(text), -1)
    outputs = []
    with attached(model, spec), torch.no_grad():
        for steps in (turn.split(3, 1), turn.split(1, 1)):
            cache, mask = cache_of(model(**inputs, use_cache=True)), inputs["attention_mask"]
            for ids in steps:
                mask = torch.cat((mask, torch.ones_like(ids)), 1)
                logits = model(input_ids=ids, attention_mask=mask, **with_cache(model, cache)).logits
            outputs.append(logits[:, -1])
    assert torch.allclose(outputs[0], outputs[1], atol=1e-4)


def test_what_the_cache_holds_is_not_fed_again() -> None:
    """Tokens fed that are all in the cache leave nothing to say; a mask of another length says nothing."""
    sample = SAMPLES["LLaVA-1.5"]
    model, inputs = built(sample), prompts(sample, [[sample.sizes[0]]])
    with attached(model, specs(model)["merge at 0"]), torch.no_grad():
        cache = cache_of(model(**inputs, use_cache=True))
        past = cache.get_seq_length()
        ids = inputs["input_ids"][:, past : past + 3]
        mask = torch.ones(1, past + 3, dtype=torch.long)
        with pytest.raises(EosError, match="the 3 tokens fed are in the cache already"):
            model(input_ids=ids, attention_mask=mask, **with_cache(model, cache))
        with pytest.raises(EosError, match="pass the new tokens only"):
            model(input_ids=ids, attention_mask=mask[:, 1:], **with_cache(model, cache))


@pytest.mark.parametrize("text", [(6,), (9, 5)], ids=["one", "left-padded"])
def test_a_copied_cache_and_one_cropped_go_on_alike(
    small: Any, model: Any, spec: OperatorSpec, text: tuple[int, ...]
) -> None:
    inputs = small.prompts(len(text), text)
    turn = torch.tensor([[5, 17, 60]]).expand(len(text), -1)
    mask = torch.cat((inputs["attention_mask"], torch.ones_like(turn)), 1)
    with attached(model, spec), torch.no_grad():
        cache = cache_of(model(**inputs, use_cache=True))
        copied = copy.deepcopy(cache)
        expected, found = (
            model(input_ids=turn, attention_mask=mask, **with_cache(model, one)).logits for one in (cache, copied)
        )
        assert torch.equal(found, expected)
        copied.crop(-5)  # the turn, and the prompt's last two tokens
        again = torch.cat((inputs["input_ids"][:, -2:], turn), 1)
        found = model(input_ids=again, attention_mask=mask, **with_cache(model, copied)).logits
    assert torch.allclose(found[:, -3:], expected, atol=1e-4)


def test_a_cache_cropped_to_before_the_image_ends_is_an_error(small: Any, model: Any) -> None:
    inputs = small.prompts()
    with attached(model, small.operator(*small.sites["many"])), torch.no_grad():
        cache = cache_of(model(**inputs, use_cache=True))
        cache.crop(-10)
        with pytest.raises(EosError, match="visual ones"):
            model(input_ids=torch.tensor([[5]]), **with_cache(model, cache))


def test_several_rows_asked_for_are_an_answer(small: Any, model: Any) -> None:
    """As with labels: what is scored, or was drafted, has no part in what the prompt keeps."""
    inputs = small.prompts(2, (9, 9))
    labels = inputs["input_ids"].clone()
    labels[:, :-3] = -100
    with attached(model, small.operator(*small.sites["text at 0"])), torch.no_grad():
        expected = model(**inputs, labels=labels).logits[:, -4:]
        assert torch.equal(model(**inputs, logits_to_keep=4).logits, expected)
        assert not torch.equal(model(**inputs).logits[:, -4:], expected)


def test_embeddings_in_place_of_ids(small: Any, model: Any) -> None:
    inputs = small.prompts()
    spec = small.operator(*small.sites["many"])
    with attached(model, spec), torch.no_grad():
        expected = model(**inputs).logits
        ids = inputs.pop("input_ids")
        found = model(inputs_embeds=model.get_input_embeddings()(ids), **inputs).logits
    assert torch.equal(found, expected)


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


def test_layers_run_on_the_tokens_left(small: Any, model: Any) -> None:
    seen = []
    watch = [
        layer.mlp.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[1]))
        for layer in model.model.language_model.layers
    ]
    with attached(model, small.operator(*small.sites["many"])), torch.no_grad():
        cache = cache_of(model(**small.prompts(), use_cache=True))
    for hook in watch:
        hook.remove()
    text = small.prompts()["input_ids"].shape[1] - small.tokens
    assert [count - text for count in seen] == [40, 24, 24, 8]
    assert [cache.get_seq_length(layer) - text for layer in range(4)] == [40, 24, 24, 8]


def test_size_bias_is_that_of_log_size(small: Any, model: Any) -> None:
    """With beta 1, merging pairs of equal tokens changes nothing: a key of size 2 weighs as two."""
    inputs = small.prompts()
    x, layout = small.embed(model, inputs)
    visual = x[:, layout.visual_bn[0]]
    x[:, layout.visual_bn[0]] = visual[:, ::2].repeat_interleave(2, 1)
    site = {"layer": 0, "keep": 32, "selector": "alternate", "transfer": {"gamma": 1.0, "tau": 0.0}, "beta": 1.0}
    body = model.model.language_model
    # equal tokens are equal only where no position tells them apart
    position = torch.zeros(1, x.shape[1], dtype=torch.long)
    mask = torch.ones(x.shape[:2], dtype=torch.long)
    first = body.layers[0]
    outputs = []
    watch = first.register_forward_hook(lambda module, args, output: outputs.append(output))
    with torch.no_grad():
        body(inputs_embeds=x, position_ids=position, attention_mask=mask)
        with reducing(model, small.operator(site), layout):
            body(inputs_embeds=x, position_ids=position, attention_mask=mask)
    watch.remove()
    text = int(layout.text_bs.sum())
    assert torch.allclose(outputs[0][:, -text:], outputs[1][:, -text:], atol=1e-5)


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


def test_a_call_that_fails_leaves_nothing_behind(small: Any, model: Any) -> None:
    inputs = small.prompts()
    x = torch.randn(1, inputs["input_ids"].shape[1], 64, generator=torch.Generator().manual_seed(0))
    body = model.model.language_model
    with torch.no_grad():
        expected = body(inputs_embeds=x).last_hidden_state
        with attached(model, small.operator(*small.sites["many"])):
            with pytest.raises(RuntimeError):
                model(**{**inputs, "pixel_values": torch.zeros(1, 5, 16, 16)})
            assert torch.equal(body(inputs_embeds=x).last_hidden_state, expected)


def test_a_cache_that_nobody_finds_is_an_error(small: Any, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # later steps would go on as if nothing had been removed: a transformers that renames it again must not pass
    monkeypatch.setattr("eos_platform.models.decoding.cache.NAMES", ("some_other_name",))
    with attached(model, small.operator(*small.sites["many"])), pytest.raises(EosError, match="no cache"):
        model.generate(**small.prompts(), max_new_tokens=2)


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
