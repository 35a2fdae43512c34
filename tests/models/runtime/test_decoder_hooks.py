"""The deployed operator computes what it says, in one call and while generating."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from eos_platform.models.decoding.cache import cache_of
from eos_platform.models.runtime.attach import attached, reducing
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
