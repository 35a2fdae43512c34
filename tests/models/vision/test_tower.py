"""Operators in the vision tower: against the blocks run one by one, and against pictures shrunk by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eos_platform.common.errors import EosError
from eos_platform.models.runtime.attach import attach, attached, detach, reducing
from eos_platform.models.vision.encoding import encode_images
from eos_platform.models.vision.tower import margins
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.reduce import reduce
from eos_platform.operators.spec import OperatorSpec
from eos_platform.operators.tokens import Tokens

READ = ("vision", "next_vision", "keys")
PARTS = ["image", "tower", "tower, then none", "image, tower, decoder"]


def pictures(count: int, seed: int = 3) -> Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def made(small: Any, name: str) -> OperatorSpec:
    image, sites = small.wider[name]
    return small.operator(*sites, image=image)


def middles(length: int, parts: int) -> list[int]:
    """The middle cell (of an even number the lower) of what each part covers when pooled adaptively."""
    found = []
    for part in range(parts):
        cells = [c for c in range(length) if c < (part + 1) * length / parts and c + 1 > part * length / parts]
        found.append(cells[(len(cells) - 1) // 2])
    return found


@torch.no_grad()
def by_hand(model: Any, picture: Tensor, spec: OperatorSpec) -> tuple[Tensor, Tokens, Tensor]:
    """One picture through the eager tower, block by block: its projected tokens, what they are, the last class row."""
    tower, grid = model.model.vision_tower, spec.target.grid
    pixels, origin = picture[None], torch.arange(grid[0] * grid[1])[None]
    if spec.image:
        pixels = nn.functional.interpolate(pixels, size=(2 * spec.image[0], 2 * spec.image[1]), mode="area")
        rows, columns = middles(grid[0], spec.image[0]), middles(grid[1], spec.image[1])
        origin = torch.tensor([[row * grid[1] + column for row in rows for column in columns]])
    x = tower.pre_layrnorm(tower.embeddings(pixels, interpolate_pos_encoding=True))
    size, bias = torch.full(origin.shape, grid[0] * grid[1] / origin.shape[1]), torch.zeros(1, 1, 1, x.shape[1])
    for number, block in enumerate(tower.encoder.layers[:2]):
        for site in spec.tower_sites:
            if site.layer == number:
                normed = block.layer_norm1(x)
                weights = block.self_attn(normed, attention_mask=bias)[1]
                key = block.self_attn.k_proj(normed)[:, 1:].unflatten(-1, (4, 8)).mean(2)
                tokens = Tokens(x[:, 1:], size, origin)
                given = {"vision": weights[:, :, 0, 1:].mean(1), "keys": key}
                (kept, size, origin), _ = reduce(site, tokens, given, grid)
                x = torch.cat((x[:, :1], kept), 1)
                bias = torch.zeros(1, 1, 1, x.shape[1])
                bias[0, 0, 0, 1:] = site.beta * size[0].log()
        row = block.self_attn(block.layer_norm1(x), attention_mask=bias)[1][0, :, 0, 1:].mean(0)
        x = block(x, attention_mask=bias)
    return model.model.multi_modal_projector(x[:, 1:])[0], Tokens(x[0, 1:], size[0], origin[0]), row


@pytest.mark.parametrize("kind", ["model", "eager"])
@pytest.mark.parametrize("name", PARTS)
def test_tower_equals_the_blocks_one_by_one(
    small: Any, request: pytest.FixtureRequest, eager: Any, name: str, kind: str
) -> None:
    spec, images = made(small, name), pictures(3)
    with torch.no_grad():
        features, read_tower = encode_images(request.getfixturevalue(kind), images, spec, READ)
    assert read_tower.seen is not None
    assert features.shape == (3, 64, 64)
    for row in range(3):
        expected, tokens, vision = by_hand(eager, images[row], spec)
        places = read_tower.seen.index_br[row]
        assert torch.equal(places, tokens.origin_bn)
        assert torch.allclose(read_tower.seen.size_br[row], tokens.size_bn, atol=1e-5)
        assert torch.allclose(features[row, places], expected, atol=1e-4)
        empty = torch.ones(64, dtype=torch.bool).index_fill(0, places, False)
        assert (features[row, empty] == 0).all()
        assert torch.allclose(read_tower.features["vision"][row], vision, atol=1e-5)
        assert read_tower.features["keys"].shape == (3, len(places), 8)
        assert read_tower.features["next_vision"].shape == (3, len(places))


def test_merging_in_the_tower_keeps_every_token_somewhere(small: Any, model: Any) -> None:
    with torch.no_grad():
        _, vision = encode_images(model, pictures(2), made(small, "tower"))
    assert vision.seen is not None
    assert torch.allclose(vision.seen.size_br.sum(1), torch.tensor([64.0, 64.0]))
    assert (vision.seen.index_br.diff() > 0).all()


@pytest.mark.parametrize("kind", ["model", "eager"])
def test_keeping_all_is_bit_for_bit(small: Any, request: pytest.FixtureRequest, kind: str) -> None:
    model = request.getfixturevalue(kind)
    inputs = small.prompts(2, (9, 5))
    sites = [{"place": "tower", "layer": layer, "keep": 64, "score": {"vision": 1.0}, "beta": 1.0} for layer in (0, 1)]
    spec = small.operator(*sites, image=(8, 8))
    with torch.no_grad():
        features, vision = encode_images(model, inputs["pixel_values"])
        again, as_seen = encode_images(model, inputs["pixel_values"], spec)
        assert torch.equal(features, again)
        assert torch.equal(vision.features["vision"], as_seen.features["vision"])
        assert as_seen.seen is None
        expected = model.generate(**inputs, max_new_tokens=3, do_sample=False)
        logits = model(**inputs).logits
        with attached(model, spec):
            assert torch.equal(model(**inputs).logits, logits)
            assert torch.equal(model.generate(**inputs, max_new_tokens=3, do_sample=False), expected)


def test_reweighting_in_the_tower_keeps_every_place(small: Any, model: Any) -> None:
    """Nothing is dropped, yet what leaves the tower is different; a whole call says the same."""
    inputs = small.prompts(2, (9, 9))
    spec = small.operator({"place": "tower", "layer": 1, "keep": 64, "score": {"vision": 1.0}, "rho": 1.0})
    with torch.no_grad():
        plain, _ = encode_images(model, inputs["pixel_values"])
        features, vision = encode_images(model, inputs["pixel_values"], spec)
        assert vision.seen is None
        assert not torch.allclose(features, plain, atol=1e-3)
        x, layout = small.embed(model, inputs, spec)
        with reducing(model, spec, layout):
            hidden = model.model.language_model(inputs_embeds=x, attention_mask=layout.valid_bs.long())
        with attached(model, spec):
            assert torch.allclose(model(**inputs).logits, model.lm_head(hidden.last_hidden_state), atol=1e-4)


@pytest.mark.parametrize("image", [(4, 4), (5, 4), (3, 8), (8, 1)])
def test_shrunk_pictures_equal_pictures_shrunk_by_hand(small: Any, model: Any, image: tuple[int, int]) -> None:
    images = pictures(2)
    with torch.no_grad():
        features, vision = encode_images(model, images, small.operator(image=image), READ)
        size = (2 * image[0], 2 * image[1])
        shrunk = (
            nn.functional.avg_pool2d(images, 2) if image == (4, 4) else nn.functional.adaptive_avg_pool2d(images, size)
        )
        states = model.model.vision_tower(
            shrunk, interpolate_pos_encoding=True, output_hidden_states=True
        ).hidden_states
        expected = model.model.multi_modal_projector(states[-2][:, 1:])
    assert vision.seen is not None
    places = [row * 8 + column for row in middles(8, image[0]) for column in middles(8, image[1])]
    assert vision.seen.index_br.tolist() == [places, places]
    assert (vision.seen.size_br == 64 / (image[0] * image[1])).all()
    assert torch.allclose(features[:, places], expected, atol=1e-5)


def test_places_of_tokens_unseen_are_dropped_before_the_language_model(small: Any, model: Any) -> None:
    """What their embeddings are does not matter, and no layer meets them; the rest keep their positions."""
    spec = small.operator(image=(4, 4))
    inputs = small.prompts(2, (9, 5))
    x, layout = small.embed(model, inputs, spec)
    assert layout.seen is not None
    slots = layout.visual_bn.gather(1, layout.seen.index_br)
    unseen = torch.zeros(x.shape[:2], dtype=torch.bool).scatter(1, layout.visual_bn, True).scatter(1, slots, False)
    body, mask = model.model.language_model, layout.valid_bs.long()
    lengths: list[int] = []
    watch = [
        layer.mlp.register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1])) for layer in body.layers
    ]
    with torch.no_grad(), reducing(model, spec, layout):
        found = body(inputs_embeds=x, attention_mask=mask).last_hidden_state
        other = body(inputs_embeds=torch.where(unseen[..., None], 9.0, x), attention_mask=mask).last_hidden_state
    for hook in watch:
        hook.remove()
    assert torch.equal(found, other)
    assert set(lengths) == {x.shape[1] - 48}
    # masking the places out by hand says the same of every other token
    with torch.no_grad():
        position = torch.arange(x.shape[1]).expand(2, -1)
        hidden = body(inputs_embeds=x, attention_mask=mask * ~unseen, position_ids=position).last_hidden_state
    real = layout.valid_bs & ~unseen
    assert torch.allclose(found[real], hidden[real], atol=1e-4)
    assert (found[unseen] == 0).all()


@pytest.mark.parametrize("name", PARTS)
def test_detach_restores_exactly(small: Any, name: str) -> None:
    model, inputs = small.build(), small.prompts(2, (9, 5))
    with torch.no_grad():
        model.get_image_features(pixel_values=inputs["pixel_values"])  # transformers leaves hooks at a first call
        logits = model(**inputs).logits
        before = [dict(module._forward_pre_hooks) | dict(module._forward_hooks) for module in model.modules()]
        attach(model, made(small, name))
        assert not torch.allclose(model(**inputs).logits, logits, atol=1e-3)
        detach(model)
        assert before == [dict(module._forward_pre_hooks) | dict(module._forward_hooks) for module in model.modules()]
        assert torch.equal(model(**inputs).logits, logits)


def test_text_and_other_images_pass_in_between(small: Any, model: Any) -> None:
    spec = made(small, "image, tower, decoder")
    inputs, text = small.prompts(2, (9, 5)), small.prompts(2, (9, 5), image=False)
    with torch.no_grad():
        plain = model(**text).logits
        with attached(model, spec):
            once = model(**inputs).logits
            assert torch.equal(model(**text).logits, plain)
            model(**small.prompts(3, (4,), seed=8))
            assert torch.equal(model(**inputs).logits, once)


def test_refusals(small: Any, model: Any) -> None:
    site = {"place": "tower", "layer": 1, "keep": 20, "score": {"vision": 1.0}}
    with pytest.raises(EosError, match=r"sites\.0: layer 3 is beyond the last layer of the vision tower .* uses \(1\)"):
        attach(model, small.operator({**site, "layer": 3}))
    with pytest.raises(
        EosError, match=r"sites\.0: the vision tower has no feature 'last_text'; it has vision, received"
    ):
        attach(model, small.operator({**site, "score": {"last_text": 1.0}}))
    spec = small.operator(site)
    x, layout = small.embed(model, small.prompts())  # seen without the operator
    with (
        pytest.raises(EosError, match="lets 20 visual tokens out of the vision tower, and 64 came"),
        reducing(model, spec, layout),
    ):
        model.model.language_model(inputs_embeds=x)
    with attached(model, spec), pytest.raises(EosError, match="already attached"):
        encode_images(model, pictures(1))
    several = small.build(feature_layer=[-2, -1])
    with pytest.raises(EosError, match="uses several layers of its vision tower"):
        attach(several, spec)


def test_a_site_reads_nothing_it_does_not_need(small: Any) -> None:
    prunes = {"layer": 0, "keep": 40, "selector": "random", "similarity": "keys"}
    merges = {**prunes, "transfer": {"gamma": 1.0}}
    read = [planned.features for planned in OperatorPlan.of(small.operator(prunes, merges)).decoder]
    assert read == [(), ()]
    assert [planned.features for planned in OperatorPlan.of(small.operator(merges)).decoder] == [("keys",)]


@torch.no_grad()
def test_a_site_before_the_projector(small: Any, model: Any, eager: Any) -> None:
    """Tokens are chosen and merged as the last used block leaves them, by what it says, and only then projected."""
    transfer = {"gamma": 1.0, "nu": 0.0, "mu": 1.0, "to": "destinations"}
    fields = {"keep": 20, "selector": "spaced", "important": 15, "score": {"vision": 1.0}, "similarity": "keys"}
    site = {**fields, "place": "tower", "layer": 2, "transfer": transfer}
    later = {"layer": 1, "keep": 9, "score": {"vision": 1.0}}
    spec, images = small.operator(site, later), pictures(2)
    features, read = encode_images(model, images, spec, ("vision",))
    tower = eager.model.vision_tower
    states = tower(images, output_hidden_states=True, output_attentions=True)
    normed = tower.encoder.layers[1].layer_norm1(states.hidden_states[1])
    key = tower.encoder.layers[1].self_attn.k_proj(normed)[:, 1:].unflatten(-1, (4, 8)).mean(2)
    given = {"vision": states.attentions[1][:, :, 0, 1:].mean(1), "keys": key}
    kept, index = reduce(spec.sites[0], Tokens.of(states.hidden_states[2][:, 1:]), given, spec.target.grid)
    expected = model.model.multi_modal_projector(kept.x_bnd)
    assert read.seen is not None
    assert torch.equal(read.seen.index_br, kept.origin_bn)
    assert torch.allclose(read.seen.size_br, kept.size_bn, atol=1e-5)
    assert torch.allclose(features.take_along_dim(index[..., None], 1), expected, atol=1e-5)
    assert torch.allclose(read.features["vision"], given["vision"].gather(1, index), atol=1e-6)
    with pytest.raises(EosError, match="layer 3 is beyond the last layer of the vision tower"):
        attach(model, small.operator({**site, "layer": 3}))


@torch.no_grad()
def test_flow_is_a_running_mean(small: Any, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a block says counts as much as all blocks before it together, of the tokens that are left."""
    from eos_platform.models.vision import tower as module

    found: list[Tensor] = []
    monkeypatch.setattr(module, "reduce", lambda site, tokens, given, grid: found.append(given["flow"]) or
                        reduce(site, tokens, given, grid))  # fmt: skip
    sites = [
        {"place": "tower", "layer": layer, "keep": keep, "score": {"flow": 1.0}} for layer, keep in ((0, 40), (1, 9))
    ]
    read: list[Tensor] = []
    own = module.read_block
    monkeypatch.setattr(module, "read_block", lambda *args: read.append(own(*args)) or {**read[-1]})
    encode_images(model, pictures(2), small.operator(*sites), ())
    first, second = (one["flow"] for one in read)
    assert torch.equal(found[0], first)
    index = first.sort(dim=1, descending=True, stable=True).indices[:, :40].sort(1).values
    assert torch.allclose(found[1], (first.gather(1, index) + second) / 2)


def test_margins() -> None:
    """Rows and columns of one colour from an edge on, as far as they are whole; a plain picture has none."""
    picture = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    picture[0, :, :5], picture[0, :, 12:] = 0.3, 0.3  # two rows of patches above (one cut), two below
    picture[1, :, :, 14:] = -1.0
    picture[2] = 0.5
    found = margins(picture, (8, 8)).view(4, 8, 8).bool()
    assert found[0].all(1).tolist() == [True, True, False, False, False, False, True, True]
    assert found[1].all(0).tolist() == [False] * 7 + [True]
    assert found[1].sum() == 8
    assert not found[2].any()
    assert not found[3].any()
