"""Checks of what a model computes with an operator on it: in one call, with its cache, in batches, while decoding."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import torch
from torch import Tensor

from eos_platform.models.adapters import family_of
from eos_platform.models.adapters.target import parts_of, target_of
from eos_platform.models.conformance.operators import gentle, plain
from eos_platform.models.conformance.registry import Check, Checks
from eos_platform.models.conformance.runs import (
    CLOSE,
    NEW,
    by_hand,
    cached,
    held,
    lengthened,
    same_as_uncached,
    uncached,
)
from eos_platform.models.conformance.subjects import batches, built, specs
from eos_platform.models.conformance.zoo import Picture, Sample, prompts
from eos_platform.models.decoding.cache import cache_of, with_cache
from eos_platform.models.runtime.attach import attached
from eos_platform.operators.plan import OperatorPlan
from eos_platform.operators.spec import OperatorSpec, SiteSpec

CHECKS = Checks()


@CHECKS.check("identity")
def identity(sample: Sample) -> int:
    """An operator that changes nothing: the untouched model, bit for bit; one that drops nothing: up to rounding."""
    tried = 0
    for attention in ("sdpa", "eager"):
        model = built(sample, attention)
        target = target_of(model)
        whole = SiteSpec(layer=1, keep=target.tokens, selector="grid")
        for inputs in batches(sample).values():
            logits, (new_bt, steps) = model(**inputs).logits, cached(model, inputs)
            for sites in ((), (whole,)):
                with attached(model, OperatorSpec(target=target, sites=sites)):
                    assert torch.equal(model(**inputs).logits, logits)
                    again_bt, again = cached(model, inputs)
                    assert torch.equal(again_bt, new_bt)
                    assert torch.equal(again, steps)
            with attached(model, gentle(target)):
                there = inputs["attention_mask"].bool()
                assert torch.allclose(model(**inputs).logits[there], logits[there], **CLOSE), "dropping nothing"
                assert torch.allclose(cached(model, inputs)[1], steps, **CLOSE), "dropping nothing, with cache"
            tried += 2
    return tried


@CHECKS.check("dropped by hand")
def dropped(sample: Sample) -> int:
    """Dropping tokens gives what the model's own layers give on what is left."""
    tried = 0
    for attention in ("sdpa",):
        model = built(sample, attention)
        for size in dict.fromkeys((sample.sizes[0], sample.sizes[-1])):
            inputs = prompts(sample, [[size]])
            for layer in (0, 1, 2):
                operator = plain(target_of(model), layer)
                expected = by_hand(model, inputs, operator, layer)
                with attached(model, operator), torch.no_grad():
                    assert torch.allclose(model(**inputs).logits[:, -1], expected, **CLOSE), f"layer {layer}"
                tried += 1
    return tried


def _cache(attention: str) -> Check:
    def run(sample: Sample) -> int:
        model, tried = built(sample, attention), 0
        for name, operator in specs(model).items():
            for inputs in batches(sample).values():
                with attached(model, operator):
                    same_as_uncached(sample, model, inputs, times=2 if name == "many" else 1)
                tried += 1
        return tried

    return run


CHECKS.check("cache = no cache (sdpa)")(_cache("sdpa"))
CHECKS.check("cache = no cache (eager)")(_cache("eager"))


@CHECKS.check("rows as if alone")
def alone(sample: Sample) -> int:
    """A prompt in a padded batch gives what it gives alone, whatever the others keep."""
    model, tried = built(sample), 0
    held: list[list[Picture]] = [[sample.sizes[-1], sample.sizes[0]], [sample.sizes[0]]]
    batch = prompts(sample, held, (5, 3))
    pad = torch.where(batch["attention_mask"] == 0, 1, 0).sum(1)
    for name, operator in specs(model).items():
        with attached(model, operator):
            _, together = cached(model, batch)
            for row in range(2):
                lonely = _row(sample, batch, held, row, int(pad[row]))
                _, expected = cached(model, lonely)
                assert torch.allclose(together[row, :1], expected[0, :1], **CLOSE), f"{name}, prompt {row}"
                tried += 1
    return tried


def _row(sample: Sample, batch: dict[str, Any], held: list[list[Picture]], row: int, pad: int) -> dict[str, Any]:
    """One prompt of a batch, without its padding and the others' pictures."""
    row_inputs: dict[str, Any] = {}
    before = sum(map(len, held[:row]))
    mine = slice(before, before + len(held[row]))
    for name, tensor in batch.items():
        if tensor.shape[:2] == batch["input_ids"].shape and name != "pixel_values":
            row_inputs[name] = tensor[row : row + 1, pad:]
        elif name == "pixel_values" and "image_grid_thw" in batch:
            sizes = batch["image_grid_thw"].prod(1).tolist()
            row_inputs[name] = torch.split(tensor, sizes)[mine.start : mine.stop]
            row_inputs[name] = torch.cat(row_inputs[name])
        elif name == "pixel_values" and tensor.dim() == 5 and "image_sizes" not in batch:
            row_inputs[name] = tensor[row : row + 1, : len(held[row])]
        else:
            row_inputs[name] = tensor[mine]
    return row_inputs


@CHECKS.check("text only")
def text_only(sample: Sample) -> int:
    """Prompts without pictures pass as if nothing were there, after others too."""
    model, tried = built(sample), 0
    inputs = prompts(sample, [[], []], (4, 7))
    logits, (new_bt, steps) = model(**inputs).logits, cached(model, inputs)
    for operator in specs(model).values():
        with attached(model, operator):
            cached(model, prompts(sample, [[sample.sizes[0]]]))
            assert torch.equal(model(**inputs).logits, logits)
            again_bt, again = cached(model, inputs)
            assert torch.equal(again_bt, new_bt)
            assert torch.equal(again, steps)
            tried += 1
    return tried


@CHECKS.check("cache lengths")
def lengths(sample: Sample) -> int:
    """Every layer's cache holds the tokens that are present there, and no more."""
    model = built(sample)
    inputs, tried = prompts(sample, [[sample.sizes[0]]]), 0
    family, target = family_of(model), target_of(model)
    for operator in specs(model).values():
        with attached(model, operator), torch.no_grad():
            cache = cache_of(model(**inputs, use_cache=True))
        lengths_by_layer = held(cache, parts_of(model))
        found = list(lengths_by_layer.values())
        assert all(later <= sooner for sooner, later in itertools.pairwise(found))
        assert found[-1] < inputs["input_ids"].shape[1]
        if not family.varies:
            foretold = OperatorPlan.of(operator).lengths(inputs["input_ids"].shape[1] - target.tokens)
            assert found == [foretold[layer] for layer in lengths_by_layer]
        tried += 1
    return tried


@CHECKS.check("beams and sampling")
def beams(sample: Sample) -> int:
    """Beam search scores what it says, as runs of the whole do; sampling draws what the same seed draws again."""
    model, tried = built(sample), 0
    inputs = prompts(sample, [[sample.sizes[0]], [sample.sizes[-1]]], (3, 6))
    operators = specs(model)
    for name in ("many", "prune", "merge at 0"):
        with attached(model, operators[name]), torch.no_grad():
            best = model.generate(
                **inputs,
                max_new_tokens=NEW,
                num_beams=3,
                do_sample=False,
                length_penalty=0.0,
                return_dict_in_generate=True,
                output_scores=True,
            )
            new_bt = best.sequences[:, -NEW:]
            logprob = uncached(model, sample, inputs, new_bt)
            total = logprob.log_softmax(-1).gather(2, new_bt[:, :, None]).sum((1, 2))
            assert torch.allclose(total, best.sequences_scores, atol=2e-3), f"{name}: beams"
            drawn = []
            for _ in range(2):
                torch.manual_seed(3)
                drawn.append(
                    model.generate(**inputs, max_new_tokens=NEW, do_sample=True, top_k=20, num_return_sequences=2)
                )
            assert torch.equal(*drawn)
        tried += 2
    return tried


@CHECKS.check("assisted")
def assisted(sample: Sample) -> int:
    """Tokens drafted from the prompt and verified, the others taken back: what greedy decoding gives."""
    model, tried = built(sample), 0
    inputs = prompts(sample, [[sample.sizes[0]]])

    def greedy(**more: Any) -> Tensor:
        return torch.as_tensor(model.generate(**inputs, max_new_tokens=2 * NEW, do_sample=False, **more))

    drafted = {"prompt_lookup_num_tokens": 3}
    if getattr(model, "_is_stateful", False):  # a state of tokens read cannot take them back: transformers refuses
        return 0
    if not torch.equal(greedy(**drafted), greedy()):  # attention both ways: to this model, drafts are prompt
        return 0
    for name, operator in specs(model).items():
        with attached(model, operator):
            assert torch.equal(greedy(**drafted), greedy()), name
        tried += 1
    return tried


@CHECKS.check("second turn")
def second_turn(sample: Sample) -> int:
    """From a copy of a prompt's cache a conversation goes on as runs of the whole do; nothing is fed twice."""
    model, tried = built(sample), 0
    inputs = prompts(sample, [[sample.sizes[0]], [sample.sizes[-1]]], (3, 6))
    turn = torch.tensor([[5, 17, 60]]).expand(2, -1)
    for name, operator in specs(model).items():
        with attached(model, operator), torch.no_grad():
            first = model.generate(**inputs, max_new_tokens=NEW, do_sample=False, return_dict_in_generate=True)
            whole = torch.cat((first.sequences, turn), 1)
            mask = torch.nn.functional.pad(inputs["attention_mask"], (0, 2 * NEW), value=1)
            late = whole[:, -NEW - 1 :]  # the last token of the answer was not fed yet
            new_bt = whole[:, inputs["input_ids"].shape[1] :]
            expected = model(**lengthened(sample, inputs, new_bt), use_cache=False).logits[:, -1]
            cache, again = cache_of(first), copy.deepcopy(cache_of(first))
            for one in (cache, again):
                _, logits = cached(model, {"input_ids": late, "attention_mask": mask, **with_cache(model, one)})
                assert torch.allclose(logits[:, 0], expected, **CLOSE), f"{name}: second turn"
        tried += 1
    return tried
