"""Typical prompts, and costs that are taken at them on real models."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from task_folders import model_folder, questions_file

from eos_platform.costs.prefill_time import median_ms
from eos_platform.costs.registry import COSTS
from eos_platform.models.adapters.adapter import adapter_of
from eos_platform.models.runtime.attach import reducing
from eos_platform.operators.spec import OperatorSpec, SiteSpec
from eos_platform.tasks import load_workload
from eos_platform.tasks.base import Subject
from eos_platform.tasks.typical import cost_context, typical
from eos_platform.tasks.workload import Workload


def operator_for(subject: Subject, *sites: tuple[int, int]) -> OperatorSpec:
    return OperatorSpec(
        target=subject.target,
        sites=tuple(SiteSpec(layer=layer, keep=keep, score={"norm": 1.0}) for layer, keep in sites),
    )


def test_a_typical_prompt_is_of_median_length_without_its_answer(small: Workload) -> None:
    encoded = small.encoded("validation", 64)
    batch = typical(encoded, 3)
    assert len(batch.index_b.unique()) == 1
    assert batch.prefill.x_bsd.shape[:2] == (3, small.target.tokens + encoded.text_tokens)
    assert batch.prefill.mask is None


@torch.no_grad()
@pytest.mark.parametrize("family", ["LLaVA-NeXT", "Idefics3"])
def test_bytes_of_the_cache_are_those_of_real_models(tmp_path: Path, family: str) -> None:
    """Of other families too, reduced or not, at the length of the prompt that is run."""
    folder, data = model_folder(tmp_path / "model", family), questions_file(tmp_path, 20)
    subject = load_workload(folder, {"name": "files", "data": str(data)}, "cpu")
    for operator in (None, operator_for(subject, (1, 5)), operator_for(subject, (0, 8), (2, 4))):
        encoded = subject.encoded("validation", 6)
        batch = typical(encoded if operator is None else encoded.encoded_with(operator), 1)
        with reducing(subject.model, operator, batch.layout) if operator else nullcontext():
            _, cache = adapter_of(subject.model).start(batch.prefill)
        held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
        text = batch.prefill.x_bsd.shape[1] - subject.shape.units * subject.target.tokens
        context = replace(cost_context(subject, questions=6), text_tokens=text)
        assert COSTS["kv_bytes"].measure(context, operator) == held


def test_milliseconds_are_those_of_the_same_prefill_timed_here(
    small: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a factor: the machine may be busy."""
    monkeypatch.setattr("eos_platform.costs.prefill_time.PATIENCE", 0.1)
    context = cost_context(small)
    assert context.prompts is not None
    prompt, adapter = context.prompts(None, 1), adapter_of(small.model)
    with torch.no_grad():
        mine = median_ms(lambda: adapter.start(prompt), small.model.device)
    assert mine / 10 < COSTS["prefill_ms"].measure(context, None) < 10 * mine
