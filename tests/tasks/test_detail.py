"""The questions that need detail: found by the unreduced model, kept on disk, reported as a group."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from eos_platform.operators.designs import get_design
from eos_platform.tasks import detail as module
from eos_platform.tasks import evaluate, load_workload, on_task
from eos_platform.tasks.batch import ask
from eos_platform.tasks.detail import DETAIL, needs_detail, with_less
from eos_platform.tasks.evaluate import Evaluation
from eos_platform.tasks.on_task import OnTask
from eos_platform.tasks.scenes_v2.render import quartered
from eos_platform.tasks.scenes_v2.task import ScenesV2

QUESTIONS = 48


@pytest.fixture(scope="module")
def subject() -> OnTask:
    found = load_workload("bundled-small-v2", device="cpu")
    assert isinstance(found, OnTask)
    return found


def test_it_is_right_whole_and_wrong_on_a_quarter() -> None:
    whole, quarter = np.array([1.0, 1.0, 0.0, 0.0, 0.5]), np.array([1.0, 0.0, 1.0, 0.0, 0.0])
    assert needs_detail(whole, quarter).tolist() == [False, True, False, False, False]
    one = ScenesV2(168).examples("heldout", 1)[0]
    assert np.array_equal(with_less(one).opened(), quartered(np.asarray(one.opened())))
    assert (with_less(one).question, with_less(one).key) == (one.question, one.key)


def test_it_is_a_group_beside_the_skills(subject: OnTask) -> None:
    found = evaluate(subject, None, "heldout", QUESTIONS)
    chosen = found.subsets[DETAIL]
    assert 0 < chosen.sum() < QUESTIONS
    assert found.per_skill[DETAIL] == 1.0
    encoded = subject.encoded("heldout", QUESTIONS)
    examples = [with_less(encoded.example(number)) for number in np.flatnonzero(chosen)[:12]]
    from eos_platform.tasks.examples import EncodedExamples
    from eos_platform.tasks.prompts import made_by

    assert not ask(EncodedExamples(subject.model, made_by(subject.processor, examples))).any()
    reduced = evaluate(
        subject, get_design("pool").build(subject.target, subject.target.tokens / 4), "heldout", QUESTIONS
    )
    assert reduced.per_skill[DETAIL] == pytest.approx(reduced.scores[chosen].mean())
    assert reduced.per_skill[DETAIL] < reduced.accuracy  # coarse pictures cost most where detail is wanted
    again = pickle.loads(pickle.dumps(found))
    assert again.per_skill == found.per_skill
    assert len(pickle.dumps(found)) < 20_000


def test_it_is_asked_once_on_a_machine(subject: OnTask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EOS_CACHE", str(tmp_path))
    subject._both.clear()
    first = subject.subsets("validation", 12)[DETAIL]
    subject._both.clear()
    monkeypatch.setattr(module, "ask", lambda *_: pytest.fail("it was kept"))
    assert np.array_equal(subject.subsets("validation", 12)[DETAIL], first)
    monkeypatch.undo()


def test_nothing_is_asked_before_somebody_looks(subject: OnTask, monkeypatch: pytest.MonkeyPatch) -> None:
    subject._both.clear()
    monkeypatch.setattr(on_task, "whole_and_quarter", lambda *_: pytest.fail("nobody looked"))
    assert 0 < evaluate(subject, None, "validation", 12).accuracy <= 1


def test_other_tasks_have_no_such_groups() -> None:
    plain = Evaluation(np.array([1.0, 0.0]), ("a", "b"))
    assert plain.per_skill == {"a": 1.0, "b": 0.0}
    assert plain.subsets == {}
