"""What sites read, against the whole attention maps of the eager model and loops over tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.attention.text_queries import choose_raters, pivot_places
from eos_platform.models.decoding.cache import cache_of
from eos_platform.models.relaxation.trace import kept_places
from eos_platform.models.runtime import site_step as present
from eos_platform.models.runtime.attach import attached, reducing
from eos_platform.models.runtime.layout import Layout
from eos_platform.models.vision.encoding import encode_images
from eos_platform.operators.site import FILM_FEATURES
from eos_platform.operators.spec import ALL_FEATURES, OperatorSpec, SiteSpec

FIRST = {"layer": 1, "keep": 40, "selector": "random", "beta": 1.0, "transfer": {"gamma": 1.0}}
Given = dict[str, Tensor]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Given]:
    """What each site in the decoder was given."""
    found: list[Given] = []

    def spy(site: SiteSpec, tokens: Any, given: Given, grid: tuple[int, int]) -> Any:
        found.append(dict(given))
        return reduce(site, tokens, given, grid)

    reduce = present.reduce
    monkeypatch.setattr(present, "reduce", spy)
    return found


class Run:
    """The eager model on prompts, with everything it can show before decoder layer ``layer``."""

    def __init__(self, model: Any, x: Tensor, layout: Layout, spec: OperatorSpec, layer: int) -> None:
        with reducing(model, spec, layout), torch.no_grad():
            output = model.model.language_model(
                inputs_embeds=x,
                attention_mask=layout.valid_bs.long(),
                output_attentions=True,
                output_hidden_states=True,
                use_cache=True,
            )
        self.attention = output.attentions[layer]  # (b, h, k, k) of the tokens present
        self.hidden = output.hidden_states[layer]  # what layer - 1 gave; a site at the layer has not acted yet
        self.keys = cache_of(output).layers[layer].keys  # (b, g, k, e), turned by position
        self.x, self.layout, self.model = x.detach(), layout, model
        self.seen = torch.arange(64).expand(len(x), -1)  # which visual tokens enter the language model

    def places(self, row: int, visual: Tensor) -> tuple[list[int], list[int], Tensor]:
        """Places among the tokens present of the visual tokens and of the prompt text, and all their positions."""
        layout = self.layout
        gone = set(layout.visual_bn[row].tolist()) - {int(layout.visual_bn[row, v]) for v in visual}
        slots = [slot for slot in range(self.x.shape[1]) if slot not in gone]
        visuals = [slots.index(int(layout.visual_bn[row, v])) for v in visual]
        texts = [place for place, slot in enumerate(slots) if layout.text_bs[row, slot]]
        return visuals, texts, torch.tensor(slots)

    def raters(self, row: int) -> list[int]:
        """Which prompt text tokens rate, counted among these, by what enters the language model."""
        seen, text = self.x[row, self.layout.visual_bn[row, self.seen[row]]], self.x[row, self.layout.text_bs[row]]
        value = (seen @ text.T).softmax(-1).mean(0)
        return [j for j, v in enumerate(value.tolist()) if v > float(value.mean())] or list(range(len(text)))


def last_text(run: Run, row: int, visual: Tensor) -> Tensor:
    visuals, texts, _ = run.places(row, visual)
    return run.attention[row].mean(0)[texts[-1], visuals]


def mean_text(run: Run, row: int, visual: Tensor) -> Tensor:
    visuals, texts, _ = run.places(row, visual)
    return torch.stack([run.attention[row].mean(0)[text, visuals] for text in texts]).mean(0)


def raters(run: Run, row: int, visual: Tensor) -> Tensor:
    visuals, texts, _ = run.places(row, visual)
    return torch.stack([run.attention[row].mean(0)[texts[j], visuals] for j in run.raters(row)]).mean(0)


def corrected(run: Run, row: int, visual: Tensor) -> Tensor:
    visuals, texts, position = run.places(row, visual)
    frequency, heads = run.model.model.language_model.rotary_emb.inv_freq, run.attention.shape[1]
    rated = torch.zeros(heads, len(visuals))
    for head in range(heads):
        for j in run.raters(row):
            for column, place in enumerate(visuals):
                apart = position[texts[j]] - position[place]
                left = 2 * float((apart * frequency).cos().sum()) / (2 * len(frequency)) ** 0.5
                rated[head, column] += run.attention[row, head, texts[j], place] / max(left, 1e-3)
    rated /= len(run.raters(row))
    loudest = rated.sum(1).argsort(descending=True)[: round(7 / 16 * heads)]
    return rated[loudest].mean(0)


def relevance(run: Run, row: int, visual: Tensor) -> Tensor:
    text = run.x[row, run.layout.text_bs[row]]
    seen = run.x[row, run.layout.visual_bn[row, visual]]
    return torch.stack([torch.cosine_similarity(token[None], text).mean() for token in seen])


def own_key(run: Run, row: int, place: int) -> Tensor:
    """A key (g, e) as it would be without padding in front: turned back by as many places as that takes."""
    pad = int(run.layout.valid_bs[row].long().argmax())
    cos_e, sin_e = (part[0, 0] for part in run.model.model.language_model.rotary_emb(run.x, torch.tensor([[pad]])))
    key = run.keys[row, :, place]
    first, second = key.chunk(2, -1)
    return key * cos_e - torch.cat((-second, first), -1) * sin_e


def key_norm(run: Run, row: int, visual: Tensor) -> Tensor:
    return torch.stack([own_key(run, row, place).abs().sum() for place in run.places(row, visual)[0]])


def weighed_text(run: Run, row: int, visual: Tensor) -> Tensor:
    """Rows of all heads, weighed by what text attends to and is attended by, itself counted once."""
    visuals, texts, _ = run.places(row, visual)
    total = torch.zeros(len(visuals))
    for head in run.attention[row]:
        for t in texts:
            weight = sum(head[t, s] for s in texts) + sum(head[s, t] for s in texts) - head[t, t]
            total += weight * head[t, visuals]
    return total


LOOPS: dict[str, Callable[[Run, int, Tensor], Tensor]] = {
    "last_text": last_text,
    "mean_text": mean_text,
    "raters": raters,
    "corrected": corrected,
    "relevance": relevance,
    "key_norm": key_norm,
    "weighed_text": weighed_text,
}


def check(given: Given, run: Run, names: list[str], kept: Tensor) -> None:
    for name in names:
        expected = torch.stack([LOOPS[name](run, row, kept[row]) for row in range(len(kept))])
        assert torch.allclose(given[name], expected, rtol=1e-4, atol=1e-6), name


def prefill(model: Any, x: Tensor, layout: Layout, spec: OperatorSpec) -> Tensor:
    with reducing(model, spec, layout), torch.no_grad():
        output = model.model.language_model(inputs_embeds=x, attention_mask=layout.valid_bs.long())
    return output.last_hidden_state


@pytest.mark.parametrize("text", [(6,), (9, 5)], ids=["one", "left-padded"])
@pytest.mark.parametrize("layer", [0, 2])
def test_features_of_every_token(small: Any, eager: Any, asked: list[Given], layer: int, text: tuple[int, ...]) -> None:
    x, layout = small.embed(eager, small.prompts(len(text), text))
    prefill(eager, x, layout, small.operator({"layer": layer, "keep": 63, "score": dict.fromkeys(LOOPS, 1.0)}))
    assert set(asked[0]) == set(LOOPS)
    check(asked[0], Run(eager, x, layout, small.operator(), layer), list(LOOPS), torch.arange(64).expand(len(x), -1))


@pytest.mark.parametrize("names", [[name] for name in LOOPS] + [list(LOOPS)], ids=[*LOOPS, "all"])
def test_features_after_another_site(small: Any, eager: Any, asked: list[Given], names: list[str]) -> None:
    """Places have moved, some tokens weigh as several; alone or together, a feature is the same."""
    x, layout = small.embed(eager, small.prompts(2, (9, 5)))
    run = Run(eager, x, layout, small.operator(), 2)
    assert [len(run.raters(row)) for row in range(2)] == [4, 2]  # a choice indeed
    prefill(eager, x, layout, small.operator(FIRST, {"layer": 2, "keep": 12, "score": dict.fromkeys(names, 1.0)}))
    kept = kept_places(eager, small.operator(FIRST), x, layout)[0].origin_br
    check(asked[1], Run(eager, x, layout, small.operator(FIRST), 2), names, kept)


def test_features_of_fewer_tokens_seen(small: Any, eager: Any, asked: list[Given]) -> None:
    """Those that never left the vision tower take no part in the choice of raters."""
    part = small.operator({"place": "tower", "layer": 1, "keep": 30, "selector": "random"})
    names = ["raters", "corrected", "relevance", "mean_text"]
    spec = small.operator(*part.sites, {"layer": 1, "keep": 12, "score": dict.fromkeys(names, 1.0)})
    x, layout = small.embed(eager, small.prompts(2, (9, 5)), spec)
    assert layout.seen is not None
    prefill(eager, x, layout, spec)
    run = Run(eager, x, layout, part, 1)
    run.seen = layout.seen.index_br
    check(asked[0], run, names, layout.seen.index_br)


def test_text_pivots(small: Any, eager: Any, asked: list[Given]) -> None:
    """Hidden states of the loudest text tokens; with fewer than four, they come again from the first."""
    x, layout = small.embed(eager, small.prompts(2, (9, 3)))
    prefill(eager, x, layout, small.operator({"layer": 2, "keep": 12, "score": {"key_norm": 1}, "selector": "pivots"}))
    run = Run(eager, x, layout, small.operator(), 2)
    for row, wanted in enumerate((4, 3)):
        texts = run.places(row, torch.arange(64))[1]
        loud = sorted(texts, key=lambda place, row=row: -float(run.keys[row, :, place].abs().sum()))[:wanted]
        expected = run.hidden[row, (loud + loud)[:4]]
        assert torch.allclose(asked[0]["text_pivots"][row], expected, atol=1e-6)


def test_text_rows(small: Any, eager: Any, asked: list[Given]) -> None:
    """Hidden states of all text that may ask; zeros where a prompt has less."""
    x, layout = small.embed(eager, small.prompts(2, (9, 3)))
    rule = {"text": 1.0}
    prefill(eager, x, layout, small.operator({"layer": 2, "keep": 12, "selector": "coverage", "coverage": rule}))
    run = Run(eager, x, layout, small.operator(), 2)
    for row in range(2):
        rows = asked[0]["text_rows"][row]
        texts = run.places(row, torch.arange(64))[1]
        assert torch.allclose(rows[(rows != 0).any(-1)], run.hidden[row, texts], atol=1e-6)


@pytest.mark.parametrize("layer", [2, 3])
def test_variation(small: Any, eager: Any, asked: list[Given], layer: int) -> None:
    """What the layer before added to each visual token, after another site too."""
    x, layout = small.embed(eager, small.prompts(2, (9, 5)))
    site = {"layer": layer, "keep": 12, "score": {"variation": 1.0}}
    prefill(eager, x, layout, small.operator(FIRST, site))
    kept = kept_places(eager, small.operator(FIRST), x, layout)[0].origin_br
    run = Run(eager, x, layout, small.operator(FIRST), layer)
    with reducing(eager, small.operator(FIRST), layout), torch.no_grad():
        mask = layout.valid_bs.long()
        inputs = {"inputs_embeds": x, "attention_mask": mask, "output_hidden_states": True}
        states = eager.model.language_model(**inputs).hidden_states
    for row in range(2):
        visuals = run.places(row, kept[row])[0]
        if layer == 3:  # what the first site made of the tokens is what entered layer 1; before that they were others
            expected = (states[3] - states[2])[row, visuals].norm(dim=-1)
            assert torch.allclose(asked[1]["variation"][row], expected, atol=1e-5)
        assert asked[1]["variation"][row].shape == (40,)
        assert (asked[1]["variation"][row] > 0).all()


def test_previous_text(small: Any, eager: Any, asked: list[Given]) -> None:
    """The last text token's row of the layer before, of the tokens present there; before the first layer its own."""
    x, layout = small.embed(eager, small.prompts(2, (9, 5)))
    for layer, first in ((2, (FIRST,)), (1, ()), (0, ())):
        asked.clear()
        site = {"layer": layer, "keep": 12, "score": {"previous_text": 1.0}}
        prefill(eager, x, layout, small.operator(*first, site))
        found, kept = asked[-1]["previous_text"], torch.arange(64).expand(2, -1)
        if first:
            kept = kept_places(eager, small.operator(*first), x, layout)[0].origin_br
        run = Run(eager, x, layout, small.operator(*first), max(layer - 1, 0))
        expected = torch.stack([last_text(run, row, kept[row]) for row in range(2)])
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6), layer


def test_variation_before_the_first_layer_is_the_norm(small: Any, eager: Any, asked: list[Given]) -> None:
    x, layout = small.embed(eager, small.prompts(2, (9, 5)))
    prefill(eager, x, layout, small.operator({"layer": 0, "keep": 12, "score": {"variation": 1.0}}))
    visual = x.take_along_dim(layout.visual_bn[..., None], 1)
    assert torch.allclose(asked[0]["variation"], visual.norm(dim=-1), atol=1e-5)


def test_raters_where_none_stands_out_are_all() -> None:
    asks_bt = torch.tensor([[False, True, True, True]])
    assert torch.equal(choose_raters(torch.zeros(1, 5, 3), torch.randn(1, 4, 3), asks_bt), asks_bt)


def test_pivots_are_never_of_those_that_may_not_ask() -> None:
    asks_bt = torch.tensor([[False, True, False, True]])
    places = pivot_places(torch.tensor([[9.0, 1.0, 8.0, 2.0]]), asks_bt, torch.tensor([[0, 5, 6, 7]]))
    assert places.tolist() == [[7, 5, 7, 5]]


@pytest.mark.parametrize("feature_layer", [-2, -1])
def test_what_is_read_in_the_tower(small: Any, feature_layer: int) -> None:
    """Against the tower's own attention maps; the next block's when there is one, else the last one's own."""
    model = small.build("eager", feature_layer=feature_layer)
    inputs = small.prompts(2, (9, 5))
    vision_model = model.model.vision_tower
    with torch.no_grad():
        output = vision_model(inputs["pixel_values"], output_attentions=True, output_hidden_states=True)
        names = ("vision", "next_vision", "keys", "received", "flow")
        _, vision = encode_images(model, inputs["pixel_values"], None, names)
    blocks = vision_model.encoder.layers
    used = len(blocks) + 1 + feature_layer
    assert torch.allclose(vision.features["vision"], output.attentions[used - 1][:, :, 0, 1:].mean(1), atol=1e-6)
    assert torch.allclose(vision.features["received"], output.attentions[used - 1].mean((1, 2))[:, 1:], atol=1e-6)
    own = blocks[used - 1]
    values = own.self_attn.v_proj(own.layer_norm1(output.hidden_states[used - 1])).unflatten(-1, (4, 8)).mean(2)
    for row in range(2):
        attended = output.attentions[used - 1][row, :, 0, 1:].mean(0)
        alike = torch.stack([values[row, 0] @ value for value in values[row, 1:]]).softmax(0)
        flow = (attended / attended.sum() + alike) * values[row, 1:].abs().sum(-1)
        assert torch.allclose(vision.features["flow"][row], flow, atol=1e-5)
    key = own.self_attn.k_proj(own.layer_norm1(output.hidden_states[used - 1]))[:, 1:]
    expected = sum(key[..., start : start + 8] for start in range(0, 32, 8)) / 4
    assert torch.allclose(vision.features["keys"], expected, atol=1e-5)
    number = min(used, len(blocks) - 1)
    block, x = blocks[number], output.hidden_states[number]
    normed = block.layer_norm1(x)
    query, key = block.self_attn.q_proj(normed), block.self_attn.k_proj(normed)
    weights = (query @ key.mT / 32**0.5).softmax(-1)
    assert torch.allclose(vision.features["next_vision"], weights[:, 0, 1:], atol=1e-6)
    assert vision.seen is None


def test_whole_calls_read_the_same(small: Any, model: Any, asked: list[Given], wider: OperatorSpec) -> None:
    """Sites are given the same in a call of the whole model as in one of the language model alone."""
    inputs = small.prompts(2, (9, 9))
    x, layout = small.embed(model, inputs, wider)
    expected = model.lm_head(prefill(model, x, layout, wider))
    with attached(model, wider), torch.no_grad():
        assert torch.allclose(model(**inputs).logits, expected, atol=1e-4)
    half = len(asked) // 2
    assert half == len(wider.decoder_sites)
    for alone, whole in zip(asked[:half], asked[half:], strict=True):
        assert set(alone) == set(whole)
        for name, value in alone.items():
            assert torch.allclose(value, whole[name], rtol=1e-4, atol=1e-5), name


def test_what_the_tower_should_have_told_is_missed(small: Any, model: Any) -> None:
    x, layout = small.embed(model, small.prompts())
    layout.features = {name: values for name, values in layout.features.items() if name != "keys"}
    spec = small.operator({"layer": 0, "keep": 9, "selector": "farthest", "similarity": "keys"})
    with pytest.raises(EosError, match="'keys' comes from before the decoder"):
        prefill(model, x, layout, spec)


def test_every_feature_is_tried_here() -> None:
    tower, before = {"vision", "next_vision", "received", "flow"}, {"variation", "previous_text"}
    assert set(ALL_FEATURES) - set(FILM_FEATURES) == set(LOOPS) | tower | before | {"norm", "uniqueness"}
