"""The checks of the conformance suite: each takes a family's sample, counts what it tried, fails by an assertion."""

from __future__ import annotations

import copy
import io
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from eos_platform.models.attach import attach, attached, attached_operator, detach
from eos_platform.models.cache import cache_of, with_cache
from eos_platform.models.conformance.operators import gentle, operators, plain
from eos_platform.models.conformance.runs import NEW, by_hand, cached, lengthened, uncached
from eos_platform.models.conformance.zoo import Picture, Sample, prompts
from eos_platform.models.families import family_of
from eos_platform.models.llava import target_of
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target

Check = Callable[[Sample], int]
CLOSE: dict[str, Any] = {"atol": 2e-4, "rtol": 1e-4}
CHECKS: dict[str, Check] = {}
_BUILT: dict[tuple[str, str], Any] = {}


def check(name: str) -> Callable[[Check], Check]:
    """Make a check part of the suite."""

    def named(function: Check) -> Check:
        CHECKS[name] = function
        return function

    return named


def built(sample: Sample, attention: str = "sdpa") -> Any:
    """A model of the sample, the same one at every call."""
    key = (sample.name, attention)
    if key not in _BUILT:
        _BUILT[key] = fresh(sample, attention)
    return _BUILT[key]


def fresh(sample: Sample, attention: str = "sdpa") -> Any:
    """A model of its own, with the same weights at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return sample.build(attention)


def specs(model: Any) -> dict[str, OperatorSpec]:
    """The operators tried on a model."""
    return operators(target_of(model), family_of(model).axes)


def batches(sample: Sample) -> dict[str, dict[str, Any]]:
    """Prompts: one picture, a padded batch (of different pictures, where they may differ), several in a prompt."""
    first, last = sample.sizes[0], sample.sizes[-1]
    found = {
        "one": prompts(sample, [[first]]),
        "padded": prompts(sample, [[first], [last]], (3, 7)),
        "several": prompts(sample, [[last, first], [first], []], (5, 3, 6)),
    }
    if sample.video:
        found["film"] = prompts(sample, [[], []], (4, 6), films=2)
        found["film and picture"] = prompts(sample, [[last]], films=2)
    return found


def same_as_uncached(sample: Sample, model: Any, inputs: dict[str, Any], times: int = 1) -> None:
    """``generate`` with its cache gives what runs of the whole give, and again, as calls in a row share nothing."""
    for _ in range(times):
        new_bt, logits_btv = cached(model, inputs)
        assert torch.allclose(logits_btv, uncached(model, sample, inputs, new_bt), **CLOSE), "cache differs"


@check("identity")
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


@check("dropped by hand")
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


check("cache = no cache (sdpa)")(_cache("sdpa"))
check("cache = no cache (eager)")(_cache("eager"))


@check("rows as if alone")
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
    found: dict[str, Any] = {}
    before = sum(map(len, held[:row]))
    mine = slice(before, before + len(held[row]))
    for name, tensor in batch.items():
        if tensor.shape[:2] == batch["input_ids"].shape and name != "pixel_values":
            found[name] = tensor[row : row + 1, pad:]
        elif name == "pixel_values" and "image_grid_thw" in batch:
            sizes = batch["image_grid_thw"].prod(1).tolist()
            found[name] = torch.split(tensor, sizes)[mine.start : mine.stop]
            found[name] = torch.cat(found[name])
        elif name == "pixel_values" and tensor.dim() == 5 and "image_sizes" not in batch:
            found[name] = tensor[row : row + 1, : len(held[row])]
        else:
            found[name] = tensor[mine]
    return found


@check("text only")
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


@check("cache lengths")
def lengths(sample: Sample) -> int:
    """Every layer's cache holds the tokens that are present there, and no more."""
    model = built(sample)
    inputs, tried = prompts(sample, [[sample.sizes[0]]]), 0
    family, target = family_of(model), target_of(model)
    for operator in specs(model).values():
        with attached(model, operator), torch.no_grad():
            cache = cache_of(model(**inputs, use_cache=True))
        held = [cache.get_seq_length(layer) for layer in range(target.layers)]
        assert all(later <= sooner for sooner, later in itertools.pairwise(held))
        assert held[-1] < inputs["input_ids"].shape[1]
        if not family.varies:
            others = inputs["input_ids"].shape[1] - target.tokens
            assert held == [others + count for count in operator.counts]
        tried += 1
    return tried


@check("beams and sampling")
def beams(sample: Sample) -> int:
    """Beam search scores what it says, as runs of the whole do; sampling draws what the same seed draws again."""
    model, tried = built(sample), 0
    inputs = prompts(sample, [[sample.sizes[0]], [sample.sizes[-1]]], (3, 6))
    found = specs(model)
    for name in ("many", "prune", "merge at 0"):
        with attached(model, found[name]), torch.no_grad():
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


@check("assisted")
def assisted(sample: Sample) -> int:
    """Tokens drafted from the prompt and verified, the others taken back: what greedy decoding gives."""
    model, tried = built(sample), 0
    inputs = prompts(sample, [[sample.sizes[0]]])

    def greedy(**more: Any) -> Tensor:
        return torch.as_tensor(model.generate(**inputs, max_new_tokens=2 * NEW, do_sample=False, **more))

    drafted = {"prompt_lookup_num_tokens": 3}
    if not torch.equal(greedy(**drafted), greedy()):  # attention both ways: to this model, drafts are prompt
        return 0
    for name, operator in specs(model).items():
        with attached(model, operator):
            assert torch.equal(greedy(**drafted), greedy()), name
        tried += 1
    return tried


@check("second turn")
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


def hooks(model: nn.Module) -> list[Any]:
    """Every hook on a model."""
    return [
        hook
        for module in model.modules()
        for kind in (module._forward_pre_hooks, module._forward_hooks, module._forward_pre_hooks_with_kwargs)
        for hook in kind
    ]


@check("detach restores")
def restores(sample: Sample) -> int:
    """After ``detach`` the model is exactly what it was: hooks, attributes, classes, weights, outputs."""
    model = built(sample)
    inputs = batches(sample)["several"]
    logits = model(**inputs).logits
    cached(model, inputs)
    before = hooks(model), [(name, sorted(vars(module))) for name, module in model.named_modules()]
    forwards = [type(module).forward for module in model.modules()]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tried = 0
    for operator in specs(model).values():
        assert attach(model, operator) is model
        assert not torch.equal(model(**inputs).logits, logits)
        cached(model, inputs)
        assert detach(model) is model
        assert (hooks(model), [(name, sorted(vars(module))) for name, module in model.named_modules()]) == before
        assert [type(module).forward for module in model.modules()] == forwards
        assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
        assert torch.equal(model(**inputs).logits, logits)
        tried += 1
    return tried


@check("threads")
def threads(sample: Sample) -> int:
    """Threads that share an attached model, each with prompts of its own, get what each gets alone."""
    model = built(sample)
    shape = [[sample.sizes[0]], [sample.sizes[0]]]
    mine = [prompts(sample, shape, (5, 5), seed=seed) for seed in (1, 2)]
    with attached(model, specs(model)["many"]):
        expected = [cached(model, inputs)[1] for inputs in mine]
        got: list[Tensor | BaseException | None] = [None, None]

        def work(number: int) -> None:
            try:
                for _ in range(3):
                    got[number] = cached(model, mine[number])[1]
            except BaseException as error:  # told below
                got[number] = error

        running = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    for found, right in zip(got, expected, strict=True):
        assert isinstance(found, Tensor), found
        assert torch.allclose(found, right, **CLOSE)
    return 2


@check("several models")
def several_models(sample: Sample) -> int:
    """Two models, each with its operator, at work in turns; a third without."""
    first, second, third = (fresh(sample) for _ in range(3))
    inputs, found = batches(sample)["several"], specs(first)
    untouched = third(**inputs).logits
    alone_ = []
    for name in ("many", "pool"):
        with attached(first, found[name]):
            alone_.append(cached(first, inputs)[1])
    with attached(first, found["many"]), attached(second, found["pool"]):
        for _ in range(2):
            assert torch.equal(cached(first, inputs)[1], alone_[0])
            assert torch.equal(cached(second, inputs)[1], alone_[1])
            assert torch.equal(third(**inputs).logits, untouched)
    return 3


@check("deepcopy")
def copies(sample: Sample) -> int:
    """A copy of an attached model has the operator on it too, apart from the original's."""
    model = fresh(sample)
    inputs = batches(sample)["several"]
    untouched = cached(model, inputs)[1]
    attach(model, specs(model)["many"])
    expected = cached(model, inputs)[1]
    other = copy.deepcopy(model)
    detach(model)
    assert torch.equal(cached(model, inputs)[1], untouched)
    del model
    assert torch.equal(cached(other, inputs)[1], expected)
    detach(other)
    assert torch.equal(cached(other, inputs)[1], untouched)
    return 1


@check("torch.save")
def saves(sample: Sample) -> int:
    """Weights of an attached model are those of the model; the model saved whole comes back with its operator."""
    model = fresh(sample)
    inputs, operator = batches(sample)["several"], specs(model)["many"]
    names = list(model.state_dict())
    attach(model, operator)
    assert list(model.state_dict()) == names
    file = io.BytesIO()
    torch.save(model, file)  # before the first call: transformers itself then leaves hooks that cannot be pickled
    file.seek(0)
    other = torch.load(file, weights_only=False)
    assert attached_operator(other) == operator
    assert torch.equal(cached(other, inputs)[1], cached(model, inputs)[1])
    assert torch.equal(cached(detach(other), inputs)[1], cached(detach(model), inputs)[1])
    return 2


@check("torch.compile")
def compiles(sample: Sample) -> int:
    """A compiled attached model gives what it gives uncompiled, with its cache and without."""
    model = fresh(sample)
    inputs = prompts(sample, [[sample.sizes[0]]])
    attach(model, specs(model)["many"])
    with torch.no_grad():
        expected = model(**inputs).logits
        compiled = torch.compile(model, backend="eager")
        found = compiled(**inputs).logits
    torch.compiler.reset()
    assert torch.allclose(found, expected, **CLOSE)
    return 1


@check("rescaled")
def rescaled(sample: Sample) -> int:
    """Operators made for a model of other depth and grid apply, once rescaled."""
    model, tried = built(sample), 0
    target = target_of(model)
    inputs = prompts(sample, [[sample.sizes[0]], [sample.sizes[-1]]], (3, 5))
    for foreign in (Target(layers=32, grid=(24, 24)), Target(layers=8, grid=(6, 9)), Target(layers=3, grid=(2, 2))):
        for operator in _made_for(foreign):
            fitted = operator.rescaled(target, positions=family_of(model).axes == 1)
            with attached(model, fitted):
                same_as_uncached(sample, model, inputs)
            tried += 1
    return tried


def _made_for(target: Target) -> Iterator[OperatorSpec]:
    n, last = target.tokens, target.layers - 1
    sites = (
        SiteSpec(layer=0, keep=max(3, n // 2), score={"norm": 1.0}, important=2),
        SiteSpec(layer=last, keep=max(2, n // 8), score={"last_text": 1.0}, summary=n > 4),
    )
    yield OperatorSpec(target=target, sites=sites)
    moved = SiteSpec(layer=last // 2, keep=n // 2, score={"mean_text": 1.0}, positions="renumber")
    yield OperatorSpec(target=target, sites=(moved,))
