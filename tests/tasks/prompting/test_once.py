"""A picture prepared once gives every prompt about it what it has when it is prepared each time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from task_processors import MADE, next_processor

from eos_platform.models.bundled import folder
from eos_platform.models.loading.processors import load_processor
from eos_platform.tasks.chats import published
from eos_platform.tasks.prompting.once import PIXELS, TRIED, Once
from eos_platform.tasks.prompts import Example, Prompt, made_by, prompt_text


def noise(height: int, width: int, seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


def shuffled(several: bool = False) -> list[Example]:
    """Three questions each about three pictures of two sizes, no two about one picture side by side."""
    pictures: list[Any] = [noise(16, 16, 0), noise(14, 30, 1), noise(16, 16, 2)]
    if several:
        pictures = [[one, noise(14, 30, 5)] for one in pictures]
    return [
        Example(pictures[place % 3], f"w{5 + place} w9" + " w7" * (place % 4), "w7", key=f"p{place % 3}")
        for place in range(12)
    ]


def alone(processor: Any, example: Example) -> dict[str, Any]:
    """What the processor makes of one question by itself."""
    picture = example.opened()
    pictures = picture if isinstance(picture, list) else [picture]
    text = prompt_text(processor, example.question, len(pictures))
    return dict(processor(text=[text], images=pictures if len(pictures) == 1 else [pictures], return_tensors="pt"))


def same(prompts: list[Prompt], processor: Any, examples: list[Example]) -> int:
    """Hold prompts against those made one by one; how many came without pixels."""
    without = 0
    for prompt, example in zip(prompts, examples, strict=True):
        whole = alone(processor, example)
        assert {*whole} - {*PIXELS} <= {*prompt.inputs} <= {*whole}
        for name, value in prompt.inputs.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(whole[name])), name
        without += PIXELS[0] not in prompt.inputs
    return without


class Counting:
    """An image processor that counts the pictures it prepares."""

    def __init__(self, true: Any) -> None:
        self.true, self.calls = true, 0

    def __call__(self, images: Any, **settings: Any) -> Any:
        self.calls += 1
        return self.true(images, **settings)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.true, name)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of PaliGemma's processor
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("family", MADE)
def test_every_prompt_is_what_it_is_alone(family: str, several: bool) -> None:
    processor, examples = MADE[family](), shuffled(several)
    once = Once(processor)
    without = same(list(made_by(processor, examples, once=once)), processor, examples)
    assert without == len(examples) - 3 - TRIED  # the first of each, and those that were made both ways
    assert same(list(made_by(processor, examples)), processor, examples) == 0


class Shading(Counting):
    """An image processor that tells of a picture what its size does not."""

    def __call__(self, images: Any, **settings: Any) -> Any:
        output = super().__call__(images, **settings)
        output["shade"] = output["pixel_values"].mean().reshape(1)
        return output


@pytest.mark.parametrize("shading", [False, True])
def test_the_same_words_about_another_picture_make_its_own_prompt(shading: bool) -> None:
    processor = next_processor()
    if shading:
        processor.image_processor = Shading(processor.image_processor)
    examples = [replace(one, question="w5 w9", answers=("w7",)) for one in shuffled()]
    prompts = list(made_by(processor, examples, once=Once(processor)))
    assert same(prompts, processor, examples) == len(examples) - 3 - TRIED
    assert len({float(one.inputs["shade"]) for one in prompts}) == 3 if shading else "shade" not in prompts[0].inputs


@pytest.mark.parametrize("model", ["bundled-small", "bundled-qwen", "bundled-gemma", "bundled-smolvlm"])
def test_so_it_is_with_bundled_models(model: str) -> None:
    processor, examples = load_processor(folder(model)), shuffled()
    assert same(list(made_by(processor, examples, once=Once(processor))), processor, examples) == 6


def test_so_it_is_with_published_prompts() -> None:
    processor, examples = published(load_processor(folder("bundled-small")), "llava-1.5"), shuffled()
    assert same(list(made_by(processor, examples, once=Once(processor))), processor, examples) == 6


def test_a_picture_is_prepared_once_and_opened_once() -> None:
    processor, opened = next_processor(), []
    processor.image_processor = counting = Counting(processor.image_processor)
    examples = [
        Example(lambda place=place: opened.append(place) or noise(16, 16, place % 3), "w5 w9", "w7", key=f"{place % 3}")
        for place in range(24)
    ]
    list(made_by(processor, examples, once=Once(processor)))
    assert counting.calls == 3 + TRIED
    assert sorted(opened)[:3] == [0, 1, 2]
    assert len(opened) < 24
    counting.calls = 0
    list(made_by(processor, sorted(examples, key=lambda one: one.key)))
    assert counting.calls == 3  # those about one picture stand together


class Peeping:
    """A processor whose text depends on what is on the picture."""

    def __init__(self, true: Any) -> None:
        self.true, self.image_processor, self.tokenizer = true, true.image_processor, true.tokenizer
        self.chat_template = true.chat_template

    def __call__(self, *, text: Any, images: Any, **options: Any) -> Any:
        self.true.image_processor = self.image_processor
        bright = np.asarray(images[0]).mean() > 10
        return self.true(text=[text[0] + " w9" * int(bright)], images=images, **options)

    def apply_chat_template(self, *given: Any, **options: Any) -> Any:
        return self.true.apply_chat_template(*given, **options)


def test_a_processor_that_looks_at_the_picture_itself_is_always_given_it() -> None:
    processor, examples = Peeping(next_processor()), shuffled()
    assert same(list(made_by(processor, examples, once=Once(processor))), processor, examples) == 0


def test_what_is_no_picture_of_pillows_is_given_every_time() -> None:
    processor = next_processor()
    examples = [Example(np.asarray(noise(16, 16, 0)), "w5 w9", "w7", key="p") for _ in range(8)]
    assert same(list(made_by(processor, examples, once=Once(processor))), processor, examples) == 0
