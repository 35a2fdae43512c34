"""transformers' own continuous batching with an operator attached: prompts without pictures, as it takes no others."""

from typing import Any

import pytest
import torch
from transformers import AutoProcessor, GenerationConfig, LlavaForConditionalGeneration

import eos_platform as eos
from eos_platform.models.bundled import folder
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target

TARGET = Target(layers=6, grid=(12, 12))
NEW = 4


@pytest.fixture
def model() -> Any:
    return LlavaForConditionalGeneration.from_pretrained(folder("bundled-small"), dtype=torch.float32).eval()


def batched(model: Any, prompts: list[list[int]]) -> list[list[int]]:
    settings = GenerationConfig(max_new_tokens=NEW, do_sample=False, eos_token_id=2, pad_token_id=0)
    found = model.generate_batch(prompts, generation_config=settings, progress_bar=False, warmup=False)
    return [one.generated_tokens for one in found.values()]


@pytest.mark.slow  # starting and ending its thread takes transformers twenty seconds
@pytest.mark.parametrize("layer", [0, 3])
@pytest.mark.filterwarnings("ignore")
def test_prompts_without_pictures_are_answered_as_without_an_operator(model: Any, layer: int) -> None:
    tokenizer = AutoProcessor.from_pretrained(folder("bundled-small")).tokenizer
    prompts = [tokenizer(text).input_ids for text in ("what is there?", "how many stars are there?")]
    plain = [
        model.generate(torch.tensor([ids]), max_new_tokens=NEW, do_sample=False)[0, len(ids) :].tolist()
        for ids in prompts
    ]
    site = SiteSpec(layer=layer, keep=20, score={"norm": 1.0}, beta=0.5)
    eos.attach(model, OperatorSpec(target=TARGET, sites=(site,)))
    assert sorted(batched(model, prompts)) == sorted(plain)
