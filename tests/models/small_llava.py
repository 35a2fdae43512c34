"""A small random LLaVA, prompts for it, and operators to try on it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from eos_platform.models.runtime.attach import reducing
from eos_platform.models.runtime.layout import Layout
from eos_platform.models.vision.encoding import encode_images
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Steering, Target

IMAGE, PAD, VOCAB = 99, 0, 100
SIDE = 8
TOKENS = SIDE * SIDE
LAYERS = 4

torch.set_num_threads(1)


def build(attention: str = "sdpa", seed: int = 0, feature_layer: int = -2) -> Any:
    torch.manual_seed(seed)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=16,
            patch_size=2,
        ),
        text_config=LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=PAD,
            initializer_range=0.15,
        ),
        image_token_id=IMAGE,
        image_seq_length=TOKENS,
        vision_feature_layer=feature_layer,
        attn_implementation=attention,
    )
    model = LlavaForConditionalGeneration(config).eval()
    # larger than a fresh model's, so that attention, and with it every choice of an operator, is far from uniform
    with torch.no_grad():
        for parameter in model.model.vision_tower.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.15)
    model.generation_config.eos_token_id = None  # run to the end
    return model


@pytest.fixture(scope="session")
def model() -> Any:
    return build()


@pytest.fixture(scope="session")
def eager() -> Any:
    return build("eager")


def prompts(rows: int = 1, text: tuple[int, ...] = (6,), seed: int = 1, image: bool = True) -> dict[str, Tensor]:
    """Prompts of <bos> word <image> text, padded on the left."""
    generator = torch.Generator().manual_seed(seed)
    lines = []
    for row in range(rows):
        words = torch.randint(3, 98, (text[row % len(text)],), generator=generator).tolist()
        lines.append([1, 7, *([IMAGE] * TOKENS if image else []), *words])
    longest = max(map(len, lines))
    ids = torch.tensor([[PAD] * (longest - len(line)) + line for line in lines])
    mask = torch.tensor([[0] * (longest - len(line)) + [1] * len(line) for line in lines])
    inputs = {"input_ids": ids, "attention_mask": mask}
    if image:
        inputs["pixel_values"] = torch.randn(rows, 3, 16, 16, generator=generator)
    return inputs


def operator(*sites: SiteSpec | dict[str, Any], image: tuple[int, int] | None = None) -> OperatorSpec:
    made = tuple(site if isinstance(site, SiteSpec) else SiteSpec.model_validate(site) for site in sites)
    return OperatorSpec(target=Target(layers=LAYERS, grid=(SIDE, SIDE)), sites=made, image=image)


def embed(model: Any, inputs: dict[str, Tensor], spec: OperatorSpec | None = None) -> tuple[Tensor, Layout]:
    """What the language model is given for ``inputs``, and its layout, made the obvious way."""
    ids, mask = inputs["input_ids"], inputs["attention_mask"].bool()
    features, vision = encode_images(model, inputs["pixel_values"], spec, ("vision", "next_vision", "keys"))
    x = model.get_input_embeddings()(ids).clone()
    x[ids == IMAGE] = features.flatten(0, 1)
    visual = torch.stack([torch.where(row == IMAGE)[0] for row in ids])
    text = torch.zeros_like(mask)
    for row in range(len(ids)):
        text[row, int(visual[row, -1]) + 1 :] = True
    last = torch.full((len(ids),), ids.shape[1] - 1)
    layout = Layout(visual, text & mask, last, mask)
    vision.add_to(layout)
    return x, layout


SITES: dict[str, list[dict[str, Any]]] = {
    "prune": [{"layer": 1, "keep": 20, "score": {"last_text": 1.0}}],
    "prune at 0": [{"layer": 0, "keep": 16, "score": {"norm": 1.0}}],
    "text at 0": [{"layer": 0, "keep": 16, "score": {"last_text": 1.0, "mean_text": -0.5}}],
    "vision": [{"layer": 0, "keep": 24, "score": {"vision": 1.0}}],
    "merge": [
        {"layer": 2, "keep": 16, "beta": 1.0, "score": {"uniqueness": 1.0}, "transfer": {"gamma": 1.0}},
    ],
    "merge at 0": [
        {"layer": 0, "keep": 16, "beta": 0.7, "score": {"uniqueness": 1.0}, "transfer": {"gamma": 1.0}},
    ],
    "pool": [
        {
            "layer": 0,
            "keep": 16,
            "selector": "grid",
            "transfer": {"gamma": 1.0, "tau": "inf", "support": {"kind": "window", "size": 16}},
        }
    ],
    "reweight": [{"layer": 1, "keep": 64, "rho": 0.7, "score": {"mean_text": 1.0}}],
    "renumber": [{"layer": 1, "keep": 20, "positions": "renumber", "score": {"mean_text": 1.0}}],
    "renumber at 0": [{"layer": 0, "keep": 20, "positions": "renumber", "score": {"norm": 1.0}}],
    "drop_all": [{"layer": 2, "keep": 0, "selector": "drop_all"}],
    "withdraw at 0": [{"layer": 0, "keep": 0, "selector": "drop_all"}],
    "two at one layer": [
        {"layer": 1, "keep": 32, "selector": "alternate", "transfer": {"gamma": 1.0}},
        {"layer": 1, "keep": 10, "score": {"last_text": 1.0}, "positions": "renumber"},
    ],
    "two at 0": [
        {"layer": 0, "keep": 40, "score": {"vision": 1.0}},
        {"layer": 0, "keep": 10, "score": {"last_text": 1.0}, "positions": "renumber", "transfer": {"gamma": 0.5}},
    ],
    "many": [
        {"layer": 0, "keep": 40, "score": {"vision": 1.0, "uniqueness": 0.3}, "beta": 1.0, "transfer": {"gamma": 0.9}},
        {"layer": 1, "keep": 24, "score": {"mean_text": 1.0}, "positions": "renumber", "rho": 0.4},
        {
            "layer": 3,
            "keep": 8,
            "score": {"last_text": 1.0, "norm": 0.2},
            "beta": 0.5,
            "transfer": {"gamma": 0.6, "tau": 0.2, "nu": 0.5, "source": "importance"},
        },
    ],
}


# what only deployed operators have: (shrunk picture, sites)
WIDER: dict[str, tuple[tuple[int, int] | None, list[dict[str, Any]]]] = {
    "raters": (
        None,
        [
            {
                "layer": 1,
                "keep": 30,
                "important": 26,
                "score": {"raters": 1.0},
                "selector": "density",
                "transfer": {"gamma": 1.0, "to": "destinations", "among": 0.3, "metric": "distance"},
                "positions": "renumber",
            },
            {"layer": 3, "keep": 12, "score": {"corrected": 1.0}},
        ],
    ),
    "steered": (
        None,
        [
            {
                "layer": layer,
                "keep": keep,
                "selector": selector,
                "score": {"norm": 0.3},
                "probe": [0.5, -0.5] * 32,
                "steering": Steering.of(*torch.randn(2, 3, 64, generator=torch.Generator().manual_seed(layer))),
                "transfer": {"gamma": 0.9, "tau": 0.1},
                "beta": 0.7,
            }
            for layer, keep, selector in ((0, 25, "diverse_topk"), (2, 10, "score"))
        ],
    ),
    "pivots": (None, [{"layer": 1, "keep": 29, "score": {"key_norm": 1.0}, "selector": "pivots"}]),
    "relevance": (None, [{"layer": 0, "keep": 21, "score": {"relevance": 1.0}, "selector": "dpp"}]),
    "keys": (
        None,
        [
            {
                "layer": 0,
                "keep": 25,
                "important": 14,
                "score": {"vision": 1.0},
                "selector": "spaced",
                "similarity": "keys",
                "transfer": {"gamma": 1.0, "nu": 0.0, "mu": 1.0, "to": "destinations"},
                "beta": 1.0,
            },
            {"layer": 2, "keep": 11, "score": {"next_vision": 1.0}, "similarity": "keys", "transfer": {"gamma": 1.0}},
        ],
    ),
    "summary": (
        None,
        [
            {
                "layer": 0,
                "keep": 15,
                "score": {"next_vision": 1.0},
                "similarity": "keys",
                "summary": True,
                "transfer": {
                    "gamma": 1.0,
                    "tau": "inf",
                    "nu": 0.0,
                    "source": "attention",
                    "by": "anchor",
                    "support": {"kind": "nearest", "size": 5},
                },
            }
        ],
    ),
    "image": ((5, 4), []),
    "tower": (
        None,
        [
            {
                "place": "tower",
                "layer": layer,
                "keep": keep,
                "selector": "alternate",
                "similarity": "keys",
                "beta": 1.0,
                "transfer": {"gamma": 1.0, "to": "destinations"},
            }
            for layer, keep in ((0, 40), (1, 22))
        ],
    ),
    "tower, then none": (
        None,
        [
            {"place": "tower", "layer": 1, "keep": 30, "score": {"vision": 1.0}, "transfer": {"gamma": 1.0}},
            {"layer": 0, "keep": 30, "score": {"norm": 1.0}, "beta": 0.8, "positions": "renumber"},
        ],
    ),
    "image, tower, decoder": (
        (6, 8),
        [
            {"place": "tower", "layer": 1, "keep": 30, "score": {"vision": 1.0, "uniqueness": 0.5}, "beta": 0.5},
            {
                "layer": 0,
                "keep": 20,
                "score": {"vision": 1.0, "relevance": 0.3},
                "similarity": "keys",
                "transfer": {"gamma": 1.0},
                "beta": 1.0,
            },
            {
                "layer": 2,
                "keep": 10,
                "score": {"next_vision": 1.0, "raters": 1.0},
                "transfer": {"gamma": 0.5},
                "positions": "renumber",
            },
        ],
    ),
}


@pytest.fixture(params=sorted(WIDER))
def wider(request: pytest.FixtureRequest) -> OperatorSpec:
    image, sites = WIDER[request.param]
    return operator(*sites, image=image)


NEW = 5


def lengthened(layout: Layout, added: int) -> Layout:
    """The layout with ``added`` tokens of an answer behind it."""
    pad = torch.nn.functional.pad
    return replace(layout, text_bs=pad(layout.text_bs, (0, added)), valid_bs=pad(layout.valid_bs, (0, added), value=1))


def greedy(model: Any, inputs: dict[str, Tensor], spec: OperatorSpec) -> tuple[Tensor, Tensor]:
    """New tokens and their logits, computed from the whole sequence each time, the prompt's choice kept."""
    x, layout = embed(model, inputs, spec)
    mask, length = inputs["attention_mask"], x.shape[1]
    tokens, logits = [], []
    for _ in range(NEW):
        longer = lengthened(layout, x.shape[1] - length)
        position = (mask.cumsum(-1) - 1).clamp(min=0)
        with reducing(model, spec, longer), torch.no_grad():
            output = model.model.language_model(
                inputs_embeds=x, attention_mask=mask, position_ids=position, use_cache=False
            )
        logits.append(model.lm_head(output.last_hidden_state[:, -1]))
        tokens.append(logits[-1].argmax(-1))
        x = torch.cat((x, model.get_input_embeddings()(tokens[-1])[:, None]), 1)
        mask = torch.cat((mask, mask.new_ones(len(x), 1)), 1)
    return torch.stack(tokens, 1), torch.stack(logits, 1)


@pytest.fixture(params=sorted(SITES))
def spec(request: pytest.FixtureRequest) -> OperatorSpec:
    return operator(*SITES[request.param])


@pytest.fixture(scope="session")
def small() -> SimpleNamespace:
    """The helpers above; test modules cannot import from one another."""
    return SimpleNamespace(
        build=build,
        prompts=prompts,
        operator=operator,
        embed=embed,
        lengthened=lengthened,
        greedy=greedy,
        new=NEW,
        sites=SITES,
        wider=WIDER,
        tokens=TOKENS,
        image=IMAGE,
    )
