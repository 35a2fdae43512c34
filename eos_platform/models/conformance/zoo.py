"""Small random models of the real classes, and prompts for them: what the conformance suite is run on.

A new family needs one ``Sample`` here; one of another package has it as its attribute ``sample`` (see
``models/adapters/README.md``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

PAD, BOS, VIDEO, IMAGE, VOCAB = 0, 1, 98, 99, 100
LAYERS = 4

Picture = tuple[int, int]  # what its size means is up to the family
Fill = Callable[[Sequence[Sequence[Picture]], torch.Generator], dict[str, Any]]


@dataclass(frozen=True)
class Sample:
    """A family, small.

    Attributes:
        name: of the model's family, and version.
        build: a model with random weights, of a kind of attention.
        tokens: placeholders that a picture takes.
        fill: what the model is given besides the prompts, for the pictures of each prompt.
        sizes: of pictures, at least two where they may differ.
        video: of so many frames, one film's part of a prompt and its inputs; None: the family takes none.
        types: the input that says what kind of token stands where, and the numbers for text, picture, film.
        suffix: the number there of a token of an answer.
        first: position of the first token.
        plain_positions: positions count tokens; otherwise the model finds them out, padding or not.
    """

    name: str
    build: Callable[[str], Any]
    tokens: Callable[[Picture], int]
    fill: Fill
    sizes: tuple[Picture, ...]
    video: Callable[[int, torch.Generator], tuple[list[int], dict[str, Any]]] | None = None
    types: tuple[str, tuple[int, int, int]] | None = None
    suffix: int = 0
    first: int = 0
    plain_positions: bool = True


def transformers() -> Any:
    """Transformers, whose classes are imported when they are first used."""
    import transformers as hf

    return hf


def text_config(**more: Any) -> dict[str, Any]:
    """Sizes of every decoder here."""
    return {
        "vocab_size": VOCAB,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": BOS,
        "eos_token_id": 2,
        "pad_token_id": PAD,
        **more,
    }


def finished(model: Any, seed: int = 0) -> Any:
    """A model whose attention, and with it every choice of an operator, is far from uniform."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.15, generator=generator)
            else:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    model.generation_config.eos_token_id = None  # run to the end
    model.generation_config.pad_token_id = PAD
    model.generation_config.suppress_tokens = [VIDEO, IMAGE]  # else an answer could be taken for a picture
    return model.eval()


def prompts(
    sample: Sample,
    pictures: Sequence[Sequence[Picture]],
    words: Sequence[int] = (5,),
    seed: int = 1,
    films: int = 0,
) -> dict[str, Any]:
    """Prompts of ``<bos> word (<image> word)* text``, padded on the left.

    Args:
        sample: of the family.
        pictures: of each prompt.
        words: of text at the end of each prompt.
        seed: of words and pictures.
        films: frames of a film in each prompt, behind its pictures.
    """
    generator = torch.Generator().manual_seed(seed)

    def some(count: int) -> list[int]:
        return [int(word) for word in torch.randint(3, 97, (count,), generator=generator)]

    lines, inputs = [], {}
    film: dict[str, Any] = {}
    for row, held in enumerate(pictures):
        line = [BOS, *some(1)]
        for picture in held:
            line += [IMAGE] * sample.tokens(picture) + some(1)
        if films:
            assert sample.video is not None
            shown, given = sample.video(films, generator)
            line += shown + some(1)
            film = {name: torch.cat((film[name], one)) if name in film else one for name, one in given.items()}
        lines.append(line + some(words[row % len(words)]))
    longest = max(map(len, lines))
    ids = torch.tensor([[PAD] * (longest - len(line)) + line for line in lines])
    inputs["input_ids"] = ids
    inputs["attention_mask"] = torch.tensor([[0] * (longest - len(line)) + [1] * len(line) for line in lines])
    if sample.types:
        name, (text, image, video) = sample.types
        inputs[name] = torch.where(ids == IMAGE, image, torch.where(ids == VIDEO, video, text))
    if any(pictures):
        inputs |= sample.fill(pictures, generator)
    return inputs | film


def noise(generator: torch.Generator, *shape: int) -> Tensor:
    """Random pixels."""
    return torch.randn(*shape, generator=generator)


def flat(pictures: Sequence[Sequence[Picture]]) -> list[Picture]:
    """The pictures of all prompts, in order."""
    return [picture for held in pictures for picture in held]


def fixed(side: int) -> Fill:
    """Pictures of one size."""
    return lambda pictures, generator: {"pixel_values": noise(generator, len(flat(pictures)), 3, side, side)}


VISION: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def _llava(attention: str) -> Any:
    hf = transformers()

    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(image_size=12, patch_size=2, **{**VISION, "num_hidden_layers": 3}),
        text_config=hf.LlamaConfig(**text_config()),
        image_token_id=IMAGE,
        image_seq_length=36,
        attn_implementation=attention,
    )
    return finished(hf.LlavaForConditionalGeneration(config))


POINTS = [[8, 16], [16, 8], [16, 16], [8, 24]]


def _next(attention: str) -> Any:
    hf = transformers()

    config = hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(image_size=8, patch_size=2, **{**VISION, "num_hidden_layers": 3}),
        text_config=hf.LlamaConfig(**text_config()),
        image_token_index=IMAGE,
        image_grid_pinpoints=POINTS,
        attn_implementation=attention,
    )
    return finished(hf.LlavaNextForConditionalGeneration(config))


def any_tokens(picture: Picture) -> int:
    """Of LLaVA-NeXT."""
    from eos_platform.models.adapters.anyres import _shown

    rows, columns = _shown(*picture, 4, tuple(map(tuple, POINTS)), 8, None)
    return 16 + rows * (columns + 1)


def any_fill(pictures: Sequence[Sequence[Picture]], generator: torch.Generator) -> dict[str, Any]:
    """Of LLaVA-NeXT: the whole picture and its tiles."""
    from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

    shown = flat(pictures)
    patches = [image_size_to_num_patches(list(size), POINTS, 8) for size in shown]
    pixels = torch.zeros(len(shown), max(patches), 3, 8, 8)
    for number, count in enumerate(patches):
        pixels[number, :count] = noise(generator, count, 3, 8, 8)
    return {"pixel_values": pixels, "image_sizes": torch.tensor(shown)}


def _onevision(attention: str) -> Any:
    hf = transformers()

    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(image_size=8, patch_size=2, vision_use_head=False, **VISION),
        text_config=hf.Qwen2Config(**text_config()),
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        image_grid_pinpoints=POINTS,
        attn_implementation=attention,
    )
    return finished(hf.LlavaOnevisionForConditionalGeneration(config))


def _onevision_video(frames: int, generator: torch.Generator) -> tuple[list[int], dict[str, Any]]:
    return [VIDEO] * (frames * 4 + 1), {"pixel_values_videos": noise(generator, 1, frames, 3, 8, 8)}


def _qwen(version: str) -> Callable[[str], Any]:
    def build(attention: str) -> Any:
        hf = transformers()

        vision: dict[str, Any] = {"depth": 2, "num_heads": 4, "patch_size": 2, "spatial_merge_size": 2}
        section = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
        if version == "2":
            vision |= {"embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2}
            names = ("Qwen2VLConfig", "Qwen2VLForConditionalGeneration")
        elif version == "2_5":
            vision |= {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 64, "window_size": 8}
            vision |= {"fullatt_block_indexes": [1]}
            names = ("Qwen2_5_VLConfig", "Qwen2_5_VLForConditionalGeneration")
        else:
            vision |= {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 64}
            vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
            names = ("Qwen3VLConfig", "Qwen3VLForConditionalGeneration")
        more = {"head_dim": 16} if version == "3" else {}
        config = getattr(hf, names[0])(
            vision_config=vision,
            text_config=text_config(rope_parameters=section, **more),
            image_token_id=IMAGE,
            video_token_id=VIDEO,
            vision_start_token_id=96,
            vision_end_token_id=97,
            attn_implementation=attention,
        )
        return finished(getattr(hf, names[1])(config))

    return build


def qwen_fill(pictures: Sequence[Sequence[Picture]], generator: torch.Generator) -> dict[str, Any]:
    """Of Qwen: rows of patches, and grids."""
    shown = flat(pictures)
    return {
        "pixel_values": noise(generator, sum(4 * h * w for h, w in shown), 24),
        "image_grid_thw": torch.tensor([[1, 2 * h, 2 * w] for h, w in shown]),
    }


def qwen_video(frames: int, generator: torch.Generator) -> tuple[list[int], dict[str, Any]]:
    """A film of three by four tokens a frame."""
    given = {
        "pixel_values_videos": noise(generator, frames * 4 * 12, 24),
        "video_grid_thw": torch.tensor([[frames, 6, 8]]),
    }
    return [VIDEO] * (frames * 12), given


def qwen3_video(frames: int, generator: torch.Generator) -> tuple[list[int], dict[str, Any]]:
    """Words that tell the time stand before every frame."""
    return [40, *[VIDEO] * 12] * frames, qwen_video(frames, generator)[1]


def _smol(kind: str) -> Callable[[str], Any]:
    def build(attention: str) -> Any:
        hf = transformers()

        config = getattr(hf, f"{kind}Config")(
            vision_config={"image_size": 16, "patch_size": 2, **VISION},
            text_config=hf.LlamaConfig(**text_config()),
            image_token_id=IMAGE,
            scale_factor=2,
            pad_token_id=PAD,
            attn_implementation=attention,
        )
        return finished(getattr(hf, f"{kind}ForConditionalGeneration")(config))

    return build


def _smol_fill(pictures: Sequence[Sequence[Picture]], generator: torch.Generator) -> dict[str, Any]:
    most = max(map(len, pictures))
    pixels = torch.zeros(len(pictures), most, 3, 16, 16)  # a picture of zeros only fills up
    for row, held in enumerate(pictures):
        pixels[row, : len(held)] = noise(generator, len(held), 3, 16, 16)
    return {"pixel_values": pixels}


def _intern(attention: str) -> Any:
    hf = transformers()

    config = hf.InternVLConfig(
        vision_config={"image_size": [16, 16], "patch_size": [2, 2], **VISION},
        text_config=hf.Qwen2Config(**text_config()),
        image_token_id=IMAGE,
        image_seq_length=16,
        attn_implementation=attention,
    )
    return finished(hf.InternVLForConditionalGeneration(config))


def _gemma(attention: str) -> Any:
    hf = transformers()

    kinds = ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]
    text = hf.Gemma3TextConfig(
        **text_config(head_dim=16, layer_types=kinds, sliding_window=14, query_pre_attn_scalar=16)
    )
    config = hf.Gemma3Config(
        vision_config=hf.SiglipVisionConfig(image_size=16, patch_size=2, vision_use_head=False, **VISION),
        text_config=text,
        image_token_index=IMAGE,
        mm_tokens_per_image=16,
        attn_implementation=attention,
    )
    return finished(hf.Gemma3ForConditionalGeneration(config))


def _pali(attention: str) -> Any:
    hf = transformers()

    config = hf.PaliGemmaConfig(
        vision_config=hf.SiglipVisionConfig(
            image_size=8, patch_size=2, vision_use_head=False, projection_dim=64, **VISION
        ),
        text_config=hf.GemmaConfig(**text_config(head_dim=16)),
        image_token_index=IMAGE,
        projection_dim=64,
        hidden_size=64,
        attn_implementation=attention,
    )
    return finished(hf.PaliGemmaForConditionalGeneration(config))


ONE = ((1, 1),)
MM = ("mm_token_type_ids", (0, 1, 2))
GRIDS = ((4, 5), (6, 3), (3, 3))


def area(picture: Picture) -> int:
    """Tokens of a picture that is said in rows and columns of them."""
    return picture[0] * picture[1]


SAMPLES: dict[str, Sample] = {
    sample.name: sample
    for sample in (
        Sample("LLaVA-1.5", _llava, lambda _: 36, fixed(12), ONE),
        Sample("LLaVA-NeXT", _next, any_tokens, any_fill, ((16, 16), (7, 16), (16, 5), (20, 15))),
        Sample(
            "LLaVA-OneVision", _onevision, any_tokens, any_fill, ((16, 16), (7, 16), (16, 5)), video=_onevision_video
        ),
        Sample("Qwen2-VL", _qwen("2"), area, qwen_fill, GRIDS, qwen_video, MM, plain_positions=False),
        Sample("Qwen2.5-VL", _qwen("2_5"), area, qwen_fill, GRIDS, qwen_video, MM, plain_positions=False),
        Sample("Qwen3-VL", _qwen("3"), area, qwen_fill, GRIDS, qwen3_video, MM, plain_positions=False),
        Sample("SmolVLM", _smol("SmolVLM"), lambda _: 16, _smol_fill, ONE),
        Sample("Idefics3", _smol("Idefics3"), lambda _: 16, _smol_fill, ONE),
        Sample("InternVL", _intern, lambda _: 16, fixed(16), ONE),
        Sample("Gemma 3", _gemma, lambda _: 16, fixed(16), ONE, types=("token_type_ids", (0, 1, 0))),
        Sample("PaliGemma", _pali, lambda _: 16, fixed(8), ONE, types=("token_type_ids", (0, 0, 0)), suffix=1, first=1),
    )
}
