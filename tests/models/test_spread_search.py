"""A whole search on a model that is spread over devices: relaxed steps, trials, evaluations; the same as on one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pretended import FIRST, SECOND, pretending, spread
from spreading import halves, place

from eos_platform.models.conformance.subjects import fresh
from eos_platform.models.conformance.zoo import SAMPLES, prompts
from eos_platform.search import SearchConfig, search
from eos_platform.search.parameters import Parameters
from eos_platform.search.result import SearchResult
from eos_platform.tasks.examples import Examples
from eos_platform.tasks.prompts import Prompt

pytest.importorskip("accelerate")
CONFIG = SearchConfig(
    budget=0.6, steps=5, batch_size=4, search_questions=8, eval_questions=6, straight_through=0.4, steering_rank=2
)


def searched(family: str, model: Any) -> SearchResult:
    sample = SAMPLES[family]

    def some(count: int, seed: int) -> list[Prompt]:
        return [
            Prompt(prompts(sample, [[sample.sizes[0]]], (5,), seed=seed + number), (7, 11)[: 1 + number % 2], number)
            for number in range(count)
        ]

    subject = Examples(model, None, {"search": some(8, 0), "validation": some(6, 50)})
    return search(subject, CONFIG)


@pytest.mark.parametrize("family", ["LLaVA-1.5", "Qwen2.5-VL"])
def test_a_search_across_devices(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    one = searched(family, fresh(SAMPLES[family]))
    two = spread(fresh(SAMPLES[family]), halves(FIRST, SECOND), "accelerate")
    # ``Module.to`` keeps a parameter's tensor where only the device's number differs
    monkeypatch.setattr(Parameters, "to", lambda self, device: place(self, lambda name: device))
    with pretending():
        found = searched(family, two)
        values = {name: value.cpu() for name, value in found.parameters.items()}
    assert found.operator.counts == one.operator.counts
    assert found.accuracy == one.accuracy
    assert found.history[-1]["loss"] == pytest.approx(one.history[-1]["loss"], rel=1e-3)
    for name, value in one.parameters.items():
        assert torch.allclose(values[name], value, atol=2e-3), name
