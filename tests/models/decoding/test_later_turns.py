"""A conversation that goes on from a reduced cache: tokens together or singly; the cache copied, cropped, not found."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.models.conformance.subjects import built, specs
from eos_platform.models.conformance.zoo import SAMPLES, prompts
from eos_platform.models.decoding.cache import cache_of, with_cache
from eos_platform.models.runtime.attach import attached
from eos_platform.operators.spec import OperatorSpec


@pytest.mark.parametrize("text", [(6,), (9, 5)], ids=["one", "left-padded"])
def test_several_new_tokens_at_once_equal_one_by_one(
    small: Any, model: Any, spec: OperatorSpec, text: tuple[int, ...]
) -> None:
    """A second turn of a conversation goes on from the reduced cache."""
    goes_on_alike(small, model, spec, text)


def test_a_second_turn_with_what_methods_add(small: Any, model: Any, wider: OperatorSpec) -> None:
    goes_on_alike(small, model, wider, (9, 5))


def goes_on_alike(small: Any, model: Any, spec: OperatorSpec, text: tuple[int, ...]) -> None:
    inputs = small.prompts(len(text), text)
    turn = torch.tensor([[5, 17, 60]]).expand(len(text), -1)
    outputs = []
    with attached(model, spec), torch.no_grad():
        for steps in (turn.split(3, 1), turn.split(1, 1)):
            cache, mask = cache_of(model(**inputs, use_cache=True)), inputs["attention_mask"]
            for ids in steps:
                mask = torch.cat((mask, torch.ones_like(ids)), 1)
                logits = model(input_ids=ids, attention_mask=mask, **with_cache(model, cache)).logits
            outputs.append(logits[:, -1])
    assert torch.allclose(outputs[0], outputs[1], atol=1e-4)


def test_what_the_cache_holds_is_not_fed_again() -> None:
    """Tokens fed that are all in the cache leave nothing to say; a mask of another length says nothing."""
    sample = SAMPLES["LLaVA-1.5"]
    model, inputs = built(sample), prompts(sample, [[sample.sizes[0]]])
    with attached(model, specs(model)["merge at 0"]), torch.no_grad():
        cache = cache_of(model(**inputs, use_cache=True))
        past = cache.get_seq_length()
        ids = inputs["input_ids"][:, past : past + 3]
        mask = torch.ones(1, past + 3, dtype=torch.long)
        with pytest.raises(EosError, match="the 3 tokens fed are in the cache already"):
            model(input_ids=ids, attention_mask=mask, **with_cache(model, cache))
        with pytest.raises(EosError, match="pass the new tokens only"):
            model(input_ids=ids, attention_mask=mask[:, 1:], **with_cache(model, cache))


@pytest.mark.parametrize("text", [(6,), (9, 5)], ids=["one", "left-padded"])
def test_a_copied_cache_and_one_cropped_go_on_alike(
    small: Any, model: Any, spec: OperatorSpec, text: tuple[int, ...]
) -> None:
    inputs = small.prompts(len(text), text)
    turn = torch.tensor([[5, 17, 60]]).expand(len(text), -1)
    mask = torch.cat((inputs["attention_mask"], torch.ones_like(turn)), 1)
    with attached(model, spec), torch.no_grad():
        cache = cache_of(model(**inputs, use_cache=True))
        copied = copy.deepcopy(cache)
        expected, found = (
            model(input_ids=turn, attention_mask=mask, **with_cache(model, one)).logits for one in (cache, copied)
        )
        assert torch.equal(found, expected)
        copied.crop(-5)  # the turn, and the prompt's last two tokens
        again = torch.cat((inputs["input_ids"][:, -2:], turn), 1)
        found = model(input_ids=again, attention_mask=mask, **with_cache(model, copied)).logits
    assert torch.allclose(found[:, -3:], expected, atol=1e-4)


def test_a_cache_cropped_to_before_the_image_ends_is_an_error(small: Any, model: Any) -> None:
    inputs = small.prompts()
    with attached(model, small.operator(*small.sites["many"])), torch.no_grad():
        cache = cache_of(model(**inputs, use_cache=True))
        cache.crop(-10)
        with pytest.raises(EosError, match="visual ones"):
            model(input_ids=torch.tensor([[5]]), **with_cache(model, cache))


def test_a_cache_that_nobody_finds_is_an_error(small: Any, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # later steps would go on as if nothing had been removed: a transformers that renames it again must not pass
    monkeypatch.setattr("eos_platform.models.decoding.cache.NAMES", ("some_other_name",))
    with attached(model, small.operator(*small.sites["many"])), pytest.raises(EosError, match="no cache"):
        model.generate(**small.prompts(), max_new_tokens=2)
