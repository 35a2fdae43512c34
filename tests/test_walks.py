"""How many files a reader opens to follow an operator, a trial's accuracy or a batch through the code."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "release"))

import walks

READING = ["models/runtime/attach", "models/runtime/operator_source", "operators/spec"]
MEETING = ["operators/plan", "models/adapters/target"]
HOOKING = ["models/runtime/decoder_hooks"]


@pytest.mark.parametrize(("score", "tower"), [("uniqueness", []), ("vision", ["models/vision/tower"])])
def test_attaching_leads_through_each_module_once(score, tower):
    """Through 9 modules, and twice through 2 of them, in the release with operator schema 1."""
    assert walks.attach(score).stays == [*READING, *MEETING, *tower, *HOOKING]


def test_from_a_trial_to_the_front():
    """16 modules in that release."""
    walk = walks.front()
    assert walk.modules[:3] == ["engine/trial_result", "engine/strategy/searcher", "engine/strategy/verdict"]
    assert "analysis/stats/pareto" in walk.modules
    assert len(walk.modules) <= 12, walk.stays


def test_from_a_batch_to_its_loss():
    """29 modules in that release, which had one kind of batch, cost and mask; 45 where all kinds had come."""
    walk = walks.loss()
    # who makes an adapter, or looks for a model's parts, has not been handed them
    assert not set(walk.modules) & {"models/adapters/__init__", "models/adapters/llava", "models/adapters/target"}
    assert len(walk.modules) <= 31, walk.stays
    assert len(walk.stays) - len(walk.modules) <= 25, walk.stays  # 30 in that release
