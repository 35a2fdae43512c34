"""Prompts by the processors of several families, with small tokenizers: what a model itself writes is right."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from task_processors import MADE, UNSAID, next_processor, pali_processor

from eos_platform.common.errors import EosError
from eos_platform.models.bundled import folder
from eos_platform.models.conformance.subjects import fresh
from eos_platform.models.conformance.zoo import SAMPLES
from eos_platform.models.loading.processors import load_processor
from eos_platform.tasks.batch import answer_states, exact
from eos_platform.tasks.examples import Examples
from eos_platform.tasks.prompts import Example, _behind, made_by, prompt_text


def picture(height: int, width: int, seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of PaliGemma's processor
@pytest.mark.parametrize("family", MADE)
def test_what_the_model_writes_is_right(family: str) -> None:
    processor, model = MADE[family](), fresh(SAMPLES[family])
    pictures = [picture(16, 16, 0), picture(14, 30, 1)]
    questions = [f"w{5 + number}" + " w9" * (1 + number % 3) for number in range(4)]
    model.generation_config.suppress_tokens = UNSAID
    examples = []
    for number, question in enumerate(questions):
        image = pictures[number % 2]
        inputs = processor(text=[prompt_text(processor, question)], images=[image], return_tensors="pt")
        inputs.pop("labels", None)
        out = model.generate(**inputs, max_new_tokens=2, do_sample=False)
        answer = processor.tokenizer.decode(out[0, -2:])
        examples.append(Example(image, question, answer if number else "w3 w3"))
    subject = Examples(model, processor, {"search": examples})
    encoded = subject.encoded("search", 4)
    assert len(encoded.seen) == 2
    right = {}
    for batch in encoded.batches(4):
        logits_bav = subject.adapter.logits(answer_states(model, batch))
        logits_bav[..., UNSAID] = -torch.inf  # as ``generate`` was told
        right |= dict(zip(batch.index_b.tolist(), exact(logits_bav, batch).tolist(), strict=True))
    assert right == {0: False, 1: True, 2: True, 3: True}


def test_prompts_go_by_the_chat_template_or_are_plain() -> None:
    assert prompt_text(next_processor(), "w5?") == "w3 <image> w5? w4\n"
    assert prompt_text(pali_processor(), "w5?") == "<image>w5?"
    with pytest.raises(EosError, match="has no tokenizer"):
        list(made_by(object(), []))
    with pytest.raises(EosError, match=r"examples\.0: the answer is empty"):
        list(made_by(next_processor(), [Example(picture(16, 16, 0), "w5", " ")]))


@pytest.mark.parametrize(
    ("between", "told"),
    [
        ("{% if m['role'] == 'assistant' %} {% endif %}", " "),
        ("", ""),  # as the template has it: nothing
        ("{% if m['role'] == 'assistant' %}A: {% endif %}", ""),  # words, which the prompt does not end with
        ("{% if m['role'] == 'assistant' %}{{ raise_exception('users alone') }}{% endif %}", ""),
    ],
)
def test_a_space_before_the_answer_is_the_templates(between: str, told: str) -> None:
    processor = load_processor(folder("bundled-smolvlm"))
    turn = "{% for c in m['content'] %}{{ '<image>' if c['type'] == 'image' else c['text'] }}{% endfor %}"
    processor.chat_template = f"{{% for m in messages %}}{between}{turn}{{% endfor %}}"
    (prompt,) = made_by(processor, [Example(picture(168, 168, 0), "what color is the cat?", ("red", "dark blue"))])
    words = processor.tokenizer
    assert prompt.answer == (*words(told + "red", add_special_tokens=False).input_ids, words.eos_token_id)
    assert prompt.most == len(words(told + "dark blue", add_special_tokens=False).input_ids) + 1


def test_an_answer_behind_a_space_has_the_tokens_it_has_there() -> None:
    """Sentencepiece's way: a text by itself begins with a space of its own."""

    def tokenizer(text: str, add_special_tokens: bool = True) -> SimpleNamespace:
        return SimpleNamespace(input_ids=[sum(map(ord, word)) for word in (" " + text).split(" ")[1:]])

    assert _behind(tokenizer, "what?", " red") == tokenizer("red").input_ids
    assert _behind(lambda text, **_: SimpleNamespace(input_ids=[len(text)]), "what?", " red") == [4]
