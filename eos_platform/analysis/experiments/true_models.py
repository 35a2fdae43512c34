"""Models of true sizes with random weights, made where they run, and questions for them: nothing is downloaded.

LLaVA is asked the built-in task's questions about its pictures; Qwen gets prompts of noise, of one picture each.
"""

from __future__ import annotations

from typing import Any

import torch

from eos_platform.common.errors import EosError, unknown
from eos_platform.models.bundled import folder
from eos_platform.models.loading.pretrained import build
from eos_platform.models.loading.processors import load_processor
from eos_platform.tasks.base import Subject
from eos_platform.tasks.examples import Examples
from eos_platform.tasks.prompts import Prompt
from eos_platform.tasks.workload import load_workload

IMAGE, VIDEO, START, END = 8, 9, 6, 7  # tokens that stand for pictures, and around them
FIXED, MIXED = ((32, 32),), ((32, 32), (24, 32), (24, 24), (16, 24))  # rows and columns of visual tokens
NAMES = ("llava-1.5-7b", "llava-1.5-13b", "qwen2.5-vl-7b", "qwen2.5-vl-7b-mixed", "qwen3-vl-8b")
PER_PICTURE, NOISES = 8, 8  # questions about one picture; different pixels in all
PAIR = 2  # patches that are merged, in rows and in columns


def text_sizes(width: int, inner: int, layers: int, heads: int, keys: int, words: int) -> dict[str, int]:
    """Sizes of a decoder, by transformers' names."""
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "vocab_size": words,
    }


TEXT = {
    "llava-1.5-7b": text_sizes(4096, 11008, 32, 32, 32, 32064),
    "llava-1.5-13b": text_sizes(5120, 13824, 40, 40, 40, 32064),
    "qwen2.5-vl-7b": text_sizes(3584, 18944, 28, 28, 4, 152064),
    "qwen3-vl-8b": text_sizes(4096, 12288, 36, 32, 8, 151936),
}
TINY = text_sizes(64, 96, 4, 4, 2, 1000)


def config_of(name: str, tiny: bool) -> Any:
    """The configuration of a model.

    Raises:
        EosError: no such model.
    """
    import transformers

    hf: Any = transformers
    if name not in NAMES:
        raise unknown("model", name, NAMES)
    text: dict[str, Any] = dict(TINY if tiny else TEXT[name.removesuffix("-mixed")])
    text |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if name.startswith("llava"):
        seen = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
        if tiny:
            seen = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
        side = 12 if tiny else 24
        return hf.LlavaConfig(
            vision_config=hf.CLIPVisionConfig(image_size=14 * side, patch_size=14, **seen),
            text_config=hf.LlamaConfig(max_position_embeddings=4096, **text),
            image_token_index=3,
            image_seq_length=side * side,
        )
    head = 16 if tiny else 128
    marks = {
        "image_token_id": IMAGE,
        "video_token_id": VIDEO,
        "vision_start_token_id": START,
        "vision_end_token_id": END,
    }
    rope = {"rope_type": "default", "rope_theta": 1e6}
    if name.startswith("qwen3"):
        seen = {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "patch_size": 16}
        seen |= {"out_hidden_size": text["hidden_size"], "num_position_embeddings": 2304}
        levels = [8, 16, 24]
        if tiny:
            seen |= {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "patch_size": 2}
            levels = [0, 1]
        rope |= {"mrope_section": [2, 3, 3] if tiny else [24, 20, 20], "mrope_interleaved": True}
        return hf.Qwen3VLConfig(
            vision_config={**seen, "deepstack_visual_indexes": levels},
            text_config={**text, "head_dim": head, "rope_parameters": rope},
            **marks,
        )
    seen = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "patch_size": 14}
    seen |= {"out_hidden_size": text["hidden_size"], "window_size": 112}
    full = [7, 15, 23, 31]
    if tiny:
        seen |= {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "patch_size": 2}
        seen |= {"window_size": 8}
        full = [1]
    rope |= {"mrope_section": [2, 3, 3] if tiny else [16, 24, 24]}
    return hf.Qwen2_5_VLConfig(
        vision_config={**seen, "fullatt_block_indexes": full},
        text_config={**text, "rope_parameters": rope},
        **marks,
    )


def model_of(name: str, device: str, tiny: bool) -> Any:
    """A model with random weights, the same on every device of a kind."""
    from transformers import AutoModelForImageTextToText

    place = torch.device(device)
    dtype = torch.float32 if place.type == "cpu" else torch.bfloat16
    torch.manual_seed(0)
    with place:
        model = build(AutoModelForImageTextToText, config_of(name, tiny), dtype=dtype)
    model.generation_config.update(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    return model.to(place).eval().requires_grad_(False)


def subject_of(name: str, questions: int, evaluated: int, tiny: bool = False, device: str = "cpu") -> Subject:
    """A model and questions.

    Args:
        name: one of ``NAMES``, or a bundled model's.
        questions: to search on.
        evaluated: of the validation split.
        tiny: a small model of the same class, to try the way.
        device: where it is made.

    Raises:
        EosError: no such model.
    """
    if name.startswith("bundled"):
        return load_workload(name, device=device)
    model = model_of(name, device, tiny)
    if name.startswith("llava"):
        subject = load_workload(model, "scenes", processor=load_processor(folder("bundled")))
        subject.name = name
        return subject
    grids: tuple[tuple[int, int], ...] = MIXED if name.endswith("mixed") else FIXED
    if tiny:
        grids = tuple((rows // 2, columns // 2) for rows, columns in grids)
    splits = {"search": (questions, 0), "validation": (evaluated, 10**6)}
    prompts = {split: prompts_of(model, grids, *given) for split, given in splits.items()}
    return Examples(model, None, prompts, name=name, task="noise")


def prompts_of(model: Any, grids: tuple[tuple[int, int], ...], count: int, first: int) -> list[Prompt]:
    """Prompts of one picture of noise each, whose sizes take turns.

    Args:
        model: a Qwen.
        grids: rows and columns of visual tokens.
        count: how many.
        first: number of the first picture.

    Raises:
        EosError: none is wanted.
    """
    if count < 1:
        raise EosError("questions: at least one is needed")
    seen, words = model.config.vision_config, model.config.text_config.vocab_size
    draw = torch.Generator().manual_seed(first)
    wide = 3 * seen.temporal_patch_size * seen.patch_size**2
    noise = {
        (grid, one): torch.randn(PAIR * PAIR * grid[0] * grid[1], wide, generator=draw)
        for grid in grids
        for one in range(max(1, NOISES // len(grids)))
    }
    made = []
    for number in range(count):
        picture = number // PER_PICTURE
        grid = grids[picture % len(grids)]
        asked = torch.randint(10, words, (24 + number % 9,), generator=draw).tolist()
        ids = torch.tensor([[1, START, *[IMAGE] * (grid[0] * grid[1]), END, *asked]])
        inputs = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": (ids == IMAGE).long(),
            "pixel_values": noise[grid, picture // len(grids) % max(1, NOISES // len(grids))],
            "image_grid_thw": torch.tensor([[1, PAIR * grid[0], PAIR * grid[1]]]),
        }
        answer = torch.randint(10, words, (1 + number % 3,), generator=draw).tolist()
        made.append(Prompt(inputs, (*answer, 2), picture=first + picture))
    return made
