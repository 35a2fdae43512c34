"""Times of further kinds, and what is said where they cannot be taken."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.costs import prefill_time
from eos_platform.costs.measured.run import decoding
from eos_platform.costs.measured.times import AnswerMs, DecodeMs, FirstTokenMs, PrefillMs
from eos_platform.operators.spec import OperatorSpec, SiteSpec
from eos_platform.protocols import Setting
from eos_platform.tasks import load_workload
from eos_platform.tasks.typical import cost_context


@pytest.fixture(scope="module")
def context():
    torch.set_num_threads(1)
    return cost_context(load_workload("bundled-small", device="cpu"), questions=8)


@pytest.fixture(scope="module")
def operator(context):
    return OperatorSpec(target=context.target, sites=(SiteSpec(layer=2, keep=30, score={"norm": 1.0}),))


def test_the_first_token_takes_the_picture_and_the_prefill_and_an_answer_all_of_it(context, operator, monkeypatch):
    """Times are counted instead of taken, so that a busy machine changes nothing."""
    runs: list[str] = []
    monkeypatch.setattr("eos_platform.costs.measured.run.median_ms", lambda work, device: runs.append(work()) or 2.0)
    assert PrefillMs().measure(context, operator) == 2.0
    assert FirstTokenMs().measure(context, operator) == 4.0
    at = replace(context, setting=Setting(batch=4, answer=10))
    assert AnswerMs().measure(at, operator) == (2.0 + 2.0 + 10 * 2.0) / 4
    assert len(runs) == 6
    assert runs[-3][0].shape[0] == 4  # logits of four prompts


@torch.no_grad()
def test_a_step_is_decoded_from_the_reduced_cache(context, operator):
    with decoding("decode_ms", context, operator) as step:
        logits = step()
    assert logits.shape[:2] == (1, 1)
    with decoding("decode_ms", context, None) as step:
        assert not torch.equal(step(), logits)


def test_what_is_timed_is_positive(context, operator, monkeypatch):
    monkeypatch.setattr(prefill_time, "PATIENCE", 0.01)
    assert DecodeMs().measure(context, operator) > 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": None}, "prefill_ms is measured on a model, and there is none here"),
        ({"setting": Setting(mode="captured")}, "mode captured is a CUDA graph, and the model is on cpu"),
        ({"setting": Setting(mode="compiled")}, "compiled is predicted from a device profile alone"),
        ({"sees": None}, "first_token_ms needs the pictures of the prompts, and there are none here"),
    ],
)
def test_what_cannot_be_measured_here_is_one_line(context, change, says, monkeypatch):
    monkeypatch.setattr(prefill_time, "PATIENCE", 0.0)
    cost = FirstTokenMs() if "sees" in change else PrefillMs()
    with pytest.raises(EosError, match=says):
        cost.measure(replace(context, **change), None)
