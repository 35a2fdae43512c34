"""Prompts of small pictures beside those of large ones: their padding leaves, and does not hold up the batch.

That every prompt still gives what it gives alone is the conformance suite's to say.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from eos_platform.models.adapters.target import parts_of
from eos_platform.models.conformance.subjects import fresh, specs
from eos_platform.models.conformance.zoo import SAMPLES, Picture, prompts
from eos_platform.models.runtime.attach import attached


def widths(model: Any, inputs: dict[str, Any]) -> list[int]:
    """Tokens a row at every decoder layer."""
    seen: list[int] = []

    def look(module: Any, args: Any, call: dict[str, Any]) -> None:
        seen.append((args[0] if args else call["hidden_states"]).shape[1])

    hooks = [layer.register_forward_pre_hook(look, with_kwargs=True) for layer in parts_of(model).layers]
    model(**inputs)
    for hook in hooks:
        hook.remove()
    return seen


@torch.no_grad()
@pytest.mark.parametrize("family", ["Qwen2.5-VL", "LLaVA-NeXT", "SmolVLM", "Gemma 3"])
@pytest.mark.parametrize("name", ["prune", "many", "prune at 0", "pool"])
@pytest.mark.parametrize("right", [False, True])
def test_a_batch_is_no_wider_than_its_widest_prompt(family: str, name: str, right: bool) -> None:
    sample = SAMPLES[family]
    first, last = sample.sizes[0], sample.sizes[-1]
    held: list[list[Picture]] = [[first], [last, last], [last]]
    model, batch = fresh(sample), prompts(sample, held, (3, 9, 4))
    length = batch["input_ids"].shape[1]
    if right:
        pad_b = (batch["attention_mask"] == 0).sum(1).tolist()
        assert max(pad_b) > 0
        for key, tensor in batch.items():
            if tensor.shape == batch["input_ids"].shape:
                batch[key] = torch.stack([row.roll(-pad) for row, pad in zip(tensor, pad_b, strict=True)])
    with attached(model, specs(model)[name]):
        found = widths(model, batch)
        alone = [widths(model, prompts(sample, [one], (text,))) for one, text in zip(held, (3, 9, 4), strict=True)]
    most = [max(layer) for layer in zip(*alone, strict=True)]
    # before the first site, whole prompts with their padding
    assert all(width in (length, widest) for width, widest in zip(found, most, strict=True))
    assert found[-1] == most[-1] < length
