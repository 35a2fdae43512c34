"""A step whose mask closes a place of the prompt: nobody sees that place, whatever an operator left of the rest."""

import copy

import pytest
import torch

from eos_platform.models.adapters.target import target_of
from eos_platform.models.conformance.subjects import batches, built, specs
from eos_platform.models.conformance.zoo import SAMPLES, prompts
from eos_platform.models.decoding.cache import cache_of, with_cache
from eos_platform.models.runtime.attach import attached
from eos_platform.operators.spec import OperatorSpec, SiteSpec

FAMILIES = ["LLaVA-1.5", "SmolVLM", "Gemma 3", "PaliGemma"]


@pytest.mark.parametrize("operator", ["prune", "merge at 0"])
@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_a_place_closed_by_the_mask_is_seen_by_nobody(name: str, operator: str) -> None:
    sample = SAMPLES[name]
    model = built(sample)
    inputs = prompts(sample, [[sample.sizes[0]], [sample.sizes[0]]], (6, 9))
    step, mask = torch.tensor([[5], [17]]), torch.cat((inputs["attention_mask"], torch.ones(2, 1, dtype=torch.long)), 1)
    closed = mask.clone()
    closed[1, -4] = 0  # a word of the second prompt; positions go on as they were
    position = (mask.cumsum(1) - 1)[:, -1:]
    with attached(model, specs(model)[operator]):
        prefill = cache_of(model(**inputs, use_cache=True))
        found = []
        for one in (mask, closed):
            call = with_cache(model, copy.deepcopy(prefill))
            call["position_ids"] = position + (name == "PaliGemma")  # which counts from 1
            found.append(model(input_ids=step, attention_mask=one, **call).logits[:, -1])
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-4)
    assert (found[0][1] - found[1][1]).abs().max() > 1e-3


@pytest.mark.parametrize("operator", ["prune", "merge at 0"])
@pytest.mark.parametrize("name", ["SmolVLM", "Qwen2.5-VL", "InternVL", "Gemma 3", "PaliGemma"])
@torch.no_grad()
def test_prompts_with_other_numbers_of_pictures_answer_as_each_alone(name: str, operator: str) -> None:
    """What fills up the shorter of two prompts is attended to by nobody, in the prefill and in every step after it."""
    sample = SAMPLES[name]
    model, size = built(sample), sample.sizes[0]
    pictures, words = [[size, size], [size]], (6, 4)
    both = prompts(sample, pictures, words)
    options = {"max_new_tokens": 4, "do_sample": False, "return_dict_in_generate": True, "output_logits": True}
    with attached(model, specs(model)[operator]):
        together = torch.stack(model.generate(**both, **options).logits, 1)
        for row in (0, 1):
            alone = one_of(both, row, [len(each) for each in pictures])
            found = torch.stack(model.generate(**alone, **options).logits, 1)[0]
            torch.testing.assert_close(together[row], found, rtol=1e-3, atol=1e-3)


def one_of(inputs, row, images):
    """A row of a batch without its padding, and its share of what the images brought."""
    first = sum(images[:row])
    there = inputs["attention_mask"][row].bool()
    found = {}
    for key, value in inputs.items():
        if key in ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"):
            found[key] = value[row : row + 1, there]
        elif len(value) == len(images):
            found[key] = value[row : row + 1]
        else:
            each = len(value) // sum(images)
            found[key] = value[first * each : (first + images[row]) * each]
    return found


@pytest.mark.parametrize("batch", ["film", "film and picture"])
@torch.no_grad()
def test_films_are_reduced_like_pictures(batch: str) -> None:
    sample = SAMPLES["Qwen2.5-VL"]
    model, inputs = built(sample), batches(sample)[batch]
    with attached(model, specs(model)["prune"]):
        cache = cache_of(model(**inputs, use_cache=True))
    whole, left = cache.get_seq_length(0), cache.get_seq_length(3)
    visual = (inputs["input_ids"] == model.config.video_token_id) | (inputs["input_ids"] == model.config.image_token_id)
    assert whole == inputs["input_ids"].shape[1]
    assert left <= whole - 0.3 * visual.sum(1).max()


@torch.no_grad()
def test_what_the_tower_says_reaches_prompts_with_several_pictures() -> None:
    sample = SAMPLES["LLaVA-1.5"]
    model, inputs = built(sample), batches(sample)["several"]
    target = target_of(model)
    spec = OperatorSpec(target=target, sites=(SiteSpec(layer=1, keep=target.tokens // 2, score={"vision": 1.0}),))
    with attached(model, spec):
        cache = cache_of(model(**inputs, use_cache=True))
    assert cache.get_seq_length(0) - cache.get_seq_length(2) >= target.tokens // 2
