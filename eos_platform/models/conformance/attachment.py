"""Checks that a model with an operator on it is a model like any other, and the same as before once it is off."""

from __future__ import annotations

import copy
import io
import threading
from typing import Any

import torch
from torch import Tensor, nn

from eos_platform.models.conformance.registry import Checks
from eos_platform.models.conformance.runs import CLOSE, cached
from eos_platform.models.conformance.subjects import batches, built, fresh, specs
from eos_platform.models.conformance.zoo import Sample, prompts
from eos_platform.models.runtime.attach import attach, attached, attached_operator, detach

CHECKS = Checks()


def hooks(model: nn.Module) -> list[Any]:
    """Every hook on a model."""
    return [
        hook
        for module in model.modules()
        for kind in (module._forward_pre_hooks, module._forward_hooks, module._forward_pre_hooks_with_kwargs)
        for hook in kind
    ]


@CHECKS.check("detach restores")
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


@CHECKS.check("threads")
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
    for output, right in zip(got, expected, strict=True):
        assert isinstance(output, Tensor), output
        assert torch.allclose(output, right, **CLOSE)
    return 2


@CHECKS.check("several models")
def several_models(sample: Sample) -> int:
    """Two models, each with its operator, at work in turns; a third without."""
    first, second, third = (fresh(sample) for _ in range(3))
    inputs, operators = batches(sample)["several"], specs(first)
    untouched = third(**inputs).logits
    alone_ = []
    for name in ("many", "pool"):
        with attached(first, operators[name]):
            alone_.append(cached(first, inputs)[1])
    with attached(first, operators["many"]), attached(second, operators["pool"]):
        for _ in range(2):
            assert torch.equal(cached(first, inputs)[1], alone_[0])
            assert torch.equal(cached(second, inputs)[1], alone_[1])
            assert torch.equal(third(**inputs).logits, untouched)
    return 3


@CHECKS.check("deepcopy")
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


@CHECKS.check("torch.save")
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


@CHECKS.check("torch.compile")
def compiles(sample: Sample) -> int:
    """A compiled attached model gives what it gives uncompiled, with its cache and without."""
    model = fresh(sample)
    inputs = prompts(sample, [[sample.sizes[0]]])
    attach(model, specs(model)["many"])
    with torch.no_grad():
        expected = model(**inputs).logits
        compiled = torch.compile(model, backend="eager")
        output = compiled(**inputs).logits
    torch.compiler.reset()
    assert torch.allclose(output, expected, **CLOSE)
    return 1
