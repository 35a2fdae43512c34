"""Checks that what a plan foretells is what happens on a model: tokens by layer, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from eos_platform.common.errors import EosError
from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.adapters.target import lacking, parts_of, target_of
from eos_platform.models.conformance.registry import Checks
from eos_platform.models.conformance.runs import held
from eos_platform.models.conformance.subjects import built, specs
from eos_platform.models.conformance.zoo import Sample, prompts
from eos_platform.models.decoding.cache import cache_of
from eos_platform.models.runtime.attach import attach, attached, detach
from eos_platform.operators.grid import as_films
from eos_platform.operators.plan import Need, OperatorPlan
from eos_platform.operators.spec import OperatorSpec, Target

CHECKS = Checks()


@CHECKS.check("plan: tokens by layer")
def tokens_by_layer(sample: Sample) -> int:
    """Every layer is handed as many tokens as the plan says, whatever the images, and its cache holds them."""
    model, tried = built(sample), 0
    for sizes in ([sample.sizes[0]], [sample.sizes[-1], sample.sizes[0]]):
        inputs = prompts(sample, [sizes])
        layout = adapter_of(model).layout(inputs)
        text = layout.valid_bs.shape[1] - layout.visual_bn.shape[1]
        for name, operator in specs(model).items():
            plan = OperatorPlan.of(operator)
            units = as_films(layout.units) if operator.scope == "film" else layout.units
            spans = [plan.of_grid(grid).lengths(0, many) for grid, many in units]
            foretold = [text + sum(counts) for counts in zip(*spans, strict=True)]
            with attached(model, operator), torch.no_grad():
                handed, cache = _handed(model, inputs)
            assert handed == foretold, f"{name}: tokens"
            kept = held(cache, parts_of(model))
            assert kept == {layer: foretold[layer] for layer in kept}, f"{name}: cache"
            tried += 1
    return tried


def _handed(model: Any, inputs: dict[str, Any]) -> tuple[list[int], Any]:
    """Tokens that each decoder layer is handed, behind whatever hooks there are, and the cache."""
    layers = parts_of(model).layers
    counts = [0] * len(layers)

    def note(index: int, module: Any, args: tuple[Any, ...], call: dict[str, Any]) -> None:
        counts[index] = (args[0] if args else call["hidden_states"]).shape[1]

    hooks = [
        layer.register_forward_pre_hook(partial(note, index), with_kwargs=True) for index, layer in enumerate(layers)
    ]
    try:
        output = model(**inputs, use_cache=True)
    finally:
        for hook in hooks:
            hook.remove()
    return counts, cache_of(output)


@CHECKS.check("plan: what is refused")
def refused(sample: Sample) -> int:
    """An operator is refused exactly where its plan needs something that the model lacks; any other runs."""
    model, tried = built(sample), 0
    lacks, inputs = set(lacking(parts_of(model))), prompts(sample, [[sample.sizes[0]]])
    for operator in _demanding(target_of(model)):
        needs = OperatorPlan.of(operator).needs
        try:
            attach(model, operator)
        except EosError:
            assert needs & lacks, f"{operator.name}: needs {sorted(needs)}, and was refused"
        else:
            with torch.no_grad():
                assert model(**inputs).logits.isfinite().all(), operator.name
            detach(model)
            assert not needs & lacks, f"{operator.name}: needs {sorted(needs)}, and {sorted(lacks)} is lacking"
        tried += 1
    assert not lacks & {Need.LAYER_WEIGHTS, Need.PROMPT_TEXT, Need.ONE_IMAGE, Need.NO_LATER_IMAGE}
    return tried


def _demanding(target: Target) -> Iterator[OperatorSpec]:
    """Operators that need one thing each, and some that need several."""
    half = target.tokens // 2
    renumber, score = {"positions": "renumber"}, {"score": {"norm": 1.0}}
    sites: dict[str, dict[str, Any]] = {
        "plain": {"layer": 1, "keep": half, **score},
        "text": {"layer": 1, "keep": half, "score": {"mean_text": 1.0}},
        "sizes": {"layer": 1, "keep": half, "beta": 0.5, **score},
        "renumber": {"layer": 1, "keep": half, **renumber, **score},
        "attention of the tower": {"layer": 0, "keep": half, "score": {"vision": 1.0}},
        "attention received": {"layer": 0, "keep": half, "score": {"received": 1.0}},
        "margins": {"layer": 0, "keep": half, "exclude_padding": True, **score},
        "before the projector": {"place": "tower", "layer": target.vision_layers, "keep": half, **score},
        "keys of the tower": {"layer": 0, "keep": half, "similarity": "keys", "transfer": {"gamma": 1.0}, **score},
        "keys, not compared": {"layer": 0, "keep": half, "similarity": "keys", **score},
        "in the tower": {"place": "tower", "layer": 0, "keep": half, **score},
        "in the tower, sizes": {"place": "tower", "layer": 0, "keep": half, "beta": 0.5, **score},
    }
    for name, site in sites.items():
        yield OperatorSpec.of({"name": name, "target": target.model_dump(), "sites": [site]})
    rows, columns = (max(1, side // 2) for side in target.grid)
    small = {"image": [rows, columns], "target": target.model_dump()}
    yield OperatorSpec.of({"name": "shrunk", **small})
    yield OperatorSpec.of({"name": "not shrunk", "target": target.model_dump(), "image": list(target.grid)})
    both = {"layer": 1, "keep": max(1, rows * columns // 2), "beta": 1.0, **renumber, "score": {"last_text": 1.0}}
    yield OperatorSpec.of({"name": "several", **small, "sites": [both]})
