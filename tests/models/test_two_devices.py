"""Operators on models over two GPUs, beside the same on one; skipped with fewer.

The same is tested with pretended devices in ``test_devices.py``.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from spreading import Where, device_map, halves, hook, place, sent, turns

from eos_platform.models.adapters.target import parts_of, target_of
from eos_platform.models.conformance.operators import gentle
from eos_platform.models.conformance.runs import cached
from eos_platform.models.conformance.subjects import batches, fresh, specs
from eos_platform.models.conformance.zoo import SAMPLES
from eos_platform.models.runtime.attach import attached
from eos_platform.operators.spec import OperatorSpec, SiteSpec

pytestmark = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two GPUs here")
ONE, TWO = torch.device("cuda", 0), torch.device("cuda", 1)
CLOSE: dict[str, Any] = {"atol": 1e-4, "rtol": 1e-4}


def by_accelerate(model: Any, where: Where) -> None:
    accelerate = pytest.importorskip("accelerate")
    main = where("")
    accelerate.dispatch_model(
        model, device_map(model, where), main_device=main, skip_keys=model._skip_keys_device_placement
    )


def by_hand(model: Any, where: Where) -> None:
    place(model, where)
    hook(model, where)


def tried(model: Any) -> dict[str, OperatorSpec]:
    """Nothing, next to nothing, and every operator of the conformance suite, at layer 0 and later."""
    target = target_of(model)
    found = {"identity": OperatorSpec(target=target), "gentle": gentle(target), **specs(model)}
    if model.config.model_type == "llava":
        read = SiteSpec(layer=2, keep=8, score={"vision": 1.0, "next_vision": 0.5}, similarity="keys", selector="dpp")
        inside = SiteSpec(place="tower", layer=1, keep=20, score={"vision": 1.0}, transfer={"gamma": 1.0}, beta=1.0)
        found["read"] = OperatorSpec(target=target, sites=(read,))
        found["inside"] = OperatorSpec(target=target, sites=(inside, read))
    return found


# transformers itself runs neither PaliGemma with its words on another device than its inputs, nor, by accelerate's
# hooks, the position embeddings of Qwen3-VL's tower there: models without an operator fail the same
UNSPREADABLE = {("PaliGemma", turns, by_accelerate), ("PaliGemma", turns, by_hand), ("Qwen3-VL", turns, by_accelerate)}
CASES = [
    (family, division, way)
    for family in SAMPLES
    for division in (halves, turns)
    for way in (by_accelerate, by_hand)
    if (family, division, way) not in UNSPREADABLE
]


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:You are calling .generate")  # a parameter outside every module stays on the host
@pytest.mark.filterwarnings("ignore:The following device_map keys")  # weights that are not in a module of their own
@pytest.mark.parametrize(("family", "division", "way"), CASES)
def test_as_on_one_gpu(family: str, division: Any, way: Any) -> None:
    sample = SAMPLES[family]
    one, two = fresh(sample).to(ONE), fresh(sample)
    way(two, division(ONE, TWO))
    layers = {str(weight.device) for layer in parts_of(two).layers for weight in layer.parameters()}
    assert layers == {"cuda:0", "cuda:1"}
    for batch, inputs in batches(sample).items():
        inputs = sent(inputs, ONE)
        for name, operator in tried(one).items():
            if name == "inside" and batch == "several":  # the vision tower is reduced for one image a prompt
                continue
            with attached(one, operator):
                logits, (tokens_bt, steps_btv) = one(**inputs).logits, cached(one, inputs)
            with attached(two, operator):
                found, (found_bt, found_btv) = two(**inputs).logits, cached(two, inputs)
            assert torch.allclose(found.to(ONE), logits, **CLOSE), (batch, name)
            assert torch.equal(found_bt.to(ONE), tokens_bt), (batch, name)
            assert torch.allclose(found_btv.to(ONE), steps_btv, **CLOSE), (batch, name)
        assert torch.allclose(two(**inputs).logits.to(ONE), one(**inputs).logits, **CLOSE), (batch, "detached")


@torch.no_grad()
@pytest.mark.parametrize(("family", "division", "way"), sorted(UNSPREADABLE, key=str))
def test_what_transformers_itself_does_not_run(family: str, division: Any, way: Any) -> None:
    model = fresh(SAMPLES[family])
    way(model, division(ONE, TWO))
    with pytest.raises(RuntimeError, match="device"):
        model(**sent(batches(SAMPLES[family])["several"], ONE))


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:You are calling .generate")  # the model says that it is on no device
@pytest.mark.filterwarnings("ignore:The following device_map keys")
@pytest.mark.parametrize("family", SAMPLES)
def test_weights_on_the_host(family: str) -> None:
    """The first two layers on one GPU, the others' weights on the host between their calls."""
    accelerate = pytest.importorskip("accelerate")
    sample = SAMPLES[family]
    one, two = fresh(sample).to(ONE), fresh(sample)
    where = halves(ONE, torch.device("cpu"))
    reported = {
        name: "cpu" if device.type == "cpu" else device.index for name, device in device_map(two, where).items()
    }
    accelerate.dispatch_model(two, reported, main_device=0, skip_keys=two._skip_keys_device_placement)
    inputs = sent(batches(sample)["several"], ONE)
    if family == "Idefics3":  # transformers sends its inputs to where no weights are
        with pytest.raises(RuntimeError, match="meta tensors"):
            cached(two, inputs)
        return
    for name in ("many", "steered", "prune"):
        with attached(one, specs(one)[name]):
            expected = cached(one, inputs)[1]
        with attached(two, specs(one)[name]):
            assert torch.allclose(cached(two, inputs)[1].to(ONE), expected, **CLOSE), name
