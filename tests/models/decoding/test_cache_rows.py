"""What was chosen for prompts follows the rows of their cache, or the next step is refused."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from transformers.cache_utils import DynamicCache

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.target import target_of
from eos_platform.models.conformance.subjects import built, specs
from eos_platform.models.conformance.ways import CHECKS
from eos_platform.models.conformance.zoo import SAMPLES, prompts
from eos_platform.models.decoding.cache import cache_of, with_cache
from eos_platform.models.decoding.cache_rows import layer_of, look, row_order
from eos_platform.models.runtime.attach import attach, attached, detach
from eos_platform.operators.spec import OperatorSpec, SiteSpec

MOVES = [name for name in CHECKS if name.startswith("call: rows") or ("cache" in name and "generate" not in name)]
FOLLOW = "LLaVA-1.5", "Qwen2-VL"


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("family", FOLLOW)
def test_moved_rows(family: str, name: str) -> None:
    assert CHECKS[name](SAMPLES[family]) > 0


def begin(name: str = "merge at 0", rows: tuple[int, ...] = (3, 6)) -> tuple[Any, dict[str, Any], Any, Any]:
    sample = SAMPLES["LLaVA-1.5"]
    model = built(sample)
    inputs = prompts(sample, [[sample.sizes[0]]] * len(rows), rows)
    return model, inputs, specs(model)[name], with_cache


def test_a_cache_is_never_gone_on_from_with_another_operator() -> None:
    model, inputs, operator, _ = begin()
    with torch.no_grad():
        with attached(model, operator):
            cache = cache_of(model(**inputs, use_cache=True))
        step = {"input_ids": torch.tensor([[5], [6]]), **with_cache(model, cache)}
        with attached(model, specs(model)["two at 2"]):
            raised = pytest.raises(EosError, match="filled with operator 'merge at 0', and 'two at 2' is attached")
            with raised:
                model(**step)
        with attached(model, operator):  # the same one, attached anew
            model(**step)


def test_tokens_that_came_without_the_operator_are_noticed() -> None:
    model, inputs, operator, _ = begin("two at 2")
    step = {"input_ids": torch.tensor([[5], [6]])}
    with torch.no_grad():
        attach(model, operator)
        cache = cache_of(model(**inputs, use_cache=True))
        detach(model)
        for layer in cache.layers:
            layer.update(layer.keys[:, :, -1:], layer.values[:, :, -1:])
        with attached(model, operator), pytest.raises(EosError, match="1 tokens came into a cache"):
            model(**step, **with_cache(model, cache))


@pytest.mark.parametrize("name", ["merge at 0", "two at 2"])
def test_a_cache_filled_before_the_operator_came(name: str) -> None:
    """Whole, it goes on as the untouched model's; where it cannot be told to be whole it is refused."""
    model, inputs, operator, _ = begin(name)
    mask = torch.nn.functional.pad(inputs["attention_mask"], (0, 1), value=1)
    step = {"input_ids": torch.tensor([[5], [6]]), "attention_mask": mask}
    with torch.no_grad():
        cache = cache_of(model(**inputs, use_cache=True))
        expected = model(**step, **with_cache(model, copy.deepcopy(cache))).logits
        with attached(model, operator):
            if name == "two at 2":
                assert torch.equal(model(**step, **with_cache(model, cache)).logits, expected)
            else:
                with pytest.raises(EosError, match="fill the cache while the operator is attached"):
                    model(**step, **with_cache(model, cache))


def test_text_cached_under_an_operator_goes_on() -> None:
    sample = SAMPLES["LLaVA-1.5"]
    model = built(sample)
    text, one = prompts(sample, [[]], (4,)), torch.tensor([[7]])
    with torch.no_grad():
        expected = model(torch.cat((text["input_ids"], one), 1)).logits[:, -1]
        with attached(model, specs(model)["merge at 0"]):
            cache = cache_of(model(input_ids=text["input_ids"], use_cache=True))
            cache.batch_repeat_interleave(2)
            found = model(input_ids=one.expand(2, -1), **with_cache(model, cache)).logits[:, -1]
    assert torch.allclose(found, expected.expand(2, -1), atol=1e-4)


def test_a_pickled_cache_goes_on() -> None:
    model, inputs, operator, _ = begin()
    mask = torch.nn.functional.pad(inputs["attention_mask"], (0, 1), value=1)
    step = {"input_ids": torch.tensor([[5], [6]]), "attention_mask": mask}
    with torch.no_grad(), attached(model, operator):
        cache, file = cache_of(model(**inputs, use_cache=True)), io.BytesIO()
        torch.save(cache, file)
        file.seek(0)
        again = torch.load(file, weights_only=False)
        again.reorder_cache(torch.tensor([1, 0]))
        expected = model(**step, **with_cache(model, cache)).logits
        turned = {name: tensor[[1, 0]] for name, tensor in step.items()}
        found = model(**turned, **with_cache(model, again)).logits
    assert torch.allclose(found[[1, 0]], expected, atol=1e-5)


def filled(keys: torch.Tensor) -> DynamicCache:
    cache = DynamicCache()
    cache.update(keys, keys, 0)
    return cache


def test_rows_are_asked_for_only_once_something_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = filled(torch.randn(3, 2, 5, 4))
    layer = layer_of(cache)
    seen = look(layer, 3)
    monkeypatch.setattr(torch.Tensor, "tolist", lambda *_: pytest.fail("waited for the device"))
    assert row_order(seen, layer, []) is None
    monkeypatch.undo()
    cache.batch_select_indices(torch.tensor([2, 0]))
    assert row_order(seen, layer, []).tolist() == [2, 0]
    cache.crop(-2)
    assert row_order(seen, layer, []).tolist() == [2, 0]


def test_a_row_of_another_cache_is_no_row_of_this_one() -> None:
    cache = filled(torch.randn(2, 2, 5, 4))
    layer = layer_of(cache)
    seen = look(layer, 2)
    layer.keys = torch.cat((layer.keys[:1], torch.randn(1, 2, 5, 4)))
    with pytest.raises(EosError, match="row 1 of a cache is none of the 2 rows"):
        row_order(seen, layer, [])


def test_rows_that_hold_the_same_must_have_been_chosen_the_same() -> None:
    cache = filled(torch.randn(1, 2, 5, 4).expand(2, -1, -1, -1))
    layer = layer_of(cache)
    seen = look(layer, 2)
    cache.reorder_cache(torch.tensor([1, 0]))
    assert row_order(seen, layer, [torch.tensor([[1, 2], [1, 2]])]) is None
    with pytest.raises(EosError, match="cannot be told apart"):
        row_order(seen, layer, [torch.tensor([[1, 2], [1, 3]])])


def test_an_image_in_a_later_turn_is_refused_where_the_tower_reduces() -> None:
    sample = SAMPLES["LLaVA-1.5"]
    model = built(sample)
    inputs = prompts(sample, [[sample.sizes[0]]])
    target = target_of(model)
    inside = OperatorSpec(target=target, sites=(SiteSpec(layer=1, place="tower", keep=20, score={"norm": 1.0}),))
    with torch.no_grad(), attached(model, inside):
        cache = cache_of(model(**inputs, use_cache=True))
        with pytest.raises(EosError, match="kept whole"):
            model(input_ids=inputs["input_ids"], pixel_values=inputs["pixel_values"], **with_cache(model, cache))
