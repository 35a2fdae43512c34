"""What a prompt keeps does not depend on its padding, whatever its sites read and whoever counts the positions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from eos_platform.models.adapters.target import absent_of, parts_of, target_of
from eos_platform.models.conformance.subjects import built
from eos_platform.models.conformance.zoo import IMAGE, SAMPLES, Sample, prompts
from eos_platform.models.runtime.attach import attached
from eos_platform.operators.site import FILM_FEATURES
from eos_platform.operators.spec import ALL_FEATURES, OperatorSpec, SiteSpec, Steering

WORDS = (3, 9)


def turned(batch: dict[str, Any]) -> dict[str, Any]:
    """The same batch padded on the right."""
    pad_b = (batch["attention_mask"] == 0).sum(1).tolist()
    shape = batch["input_ids"].shape
    return {
        name: torch.stack([row.roll(-pad) for row, pad in zip(tensor, pad_b, strict=True)])
        if tensor.shape == shape
        else tensor
        for name, tensor in batch.items()
    }


def counted(sample: Sample, batch: dict[str, Any]) -> dict[str, Any]:
    """With positions from the mask; a plain call of most models counts the padding, too."""
    return {**batch, "position_ids": (batch["attention_mask"].cumsum(1) - 1).clamp(min=0) + sample.first}


@torch.no_grad()
def kept(model: Any, inputs: dict[str, Any]) -> list[list[bool]]:
    """Of each prompt, which visual tokens are there in the end: the rows of the others are zeros."""
    there_bs: Tensor = (model.model(**inputs, use_cache=False).last_hidden_state != 0).any(-1)
    holds_bs = inputs["input_ids"] == IMAGE
    return [there[holds].tolist() for there, holds in zip(there_bs, holds_bs, strict=True)]


def operators(model: Any) -> dict[str, OperatorSpec]:
    """One a feature, and one for whatever else is read: at layer 0, and later."""
    target, parts = target_of(model), parts_of(model)
    wide = torch.randn(5, 64, generator=torch.Generator().manual_seed(0)).split([1, 2, 2])
    whats: dict[str, dict[str, Any]] = {
        name: {"score": {name: 1.0}, "scope": "film" if name in FILM_FEATURES else "frame"} for name in ALL_FEATURES
    }
    whats["question"] = {"score": {"norm": 0.1}, "probe": wide[0][0].tolist(), "steering": Steering.of(*wide[1:])}
    whats["text pivots"] = {"score": {"key_norm": 1.0}, "selector": "pivots"}
    whats["keys"] = {"score": {"norm": 1.0}, "selector": "dpp", "similarity": "keys"}
    found = {}
    for name, fields in whats.items():
        if name in absent_of(parts) or (name == "previous_text" and parts.kind(1) != parts.kind(2)):
            continue
        counts = (target.tokens // 2, target.tokens // 5)
        sites = [SiteSpec(layer=layer, keep=keep, **fields) for layer, keep in zip((0, 2), counts, strict=True)]
        found[name] = OperatorSpec(name=name, target=target, sites=tuple(sites))
    return found


@pytest.mark.parametrize("family", SAMPLES)
def test_padding_changes_nothing_of_what_is_kept(family: str) -> None:
    sample = SAMPLES[family]
    model, pictures = built(sample), [[sample.sizes[0]], [sample.sizes[0]]]
    left = prompts(sample, pictures, WORDS)
    calls = {"left": left, "right": turned(left)}
    if sample.plain_positions:
        calls |= {f"{name}, counted": counted(sample, batch) for name, batch in list(calls.items())}
    # each prompt of the batch as it is alone
    alone = []
    for row in range(2):
        full = left["attention_mask"][row].bool()
        one = {name: tensor[row : row + 1, full] for name, tensor in left.items() if tensor.shape == (2, len(full))}
        pixels = {name: tensor for name, tensor in left.items() if name not in one}
        alone.append(one | {name: tensor.chunk(2)[row] for name, tensor in pixels.items()})
    wrong = []
    for name, operator in operators(model).items():
        with attached(model, operator):
            expected = [kept(model, one)[0] for one in alone]
            assert all(0 < sum(one) < len(one) for one in expected), name
            wrong += [(name, call) for call, batch in calls.items() if kept(model, batch) != expected]
    assert wrong == []
