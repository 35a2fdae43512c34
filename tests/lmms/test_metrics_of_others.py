"""Metrics against those of lmms-eval, an implementation of somebody else's, where it is installed."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from eos_platform.tasks.benchmarks.yes_no import first_four
from eos_platform.tasks.metrics import text
from eos_platform.tasks.metrics.vqa_text import read_vqa

pytest.importorskip("lmms_eval")
WORDS = (
    "yes", "No", "two", "2", "a dog", "the Dog", "dont", "1,000", "1000", "3.5", "U.S.A.", "red/blue", "12%", "0.12",
    "what?", "none", "it's", "Cafe", "left - right", "(B)", "B.", "2010", "2011", "", "x" * 30,
)  # fmt: skip


def pairs(count: int) -> list[tuple[str, str]]:
    draw = random.Random(0)
    return [tuple(" ".join(draw.choices(WORDS, k=draw.randint(1, 3))) for _ in range(2)) for _ in range(count)]  # type: ignore[misc]


def test_vqa_reads_answers_as_they_do() -> None:
    from lmms_eval.tasks._task_utils.vqa_eval_metric import EvalAIAnswerProcessor

    theirs = EvalAIAnswerProcessor()

    def read(one: str) -> str:
        one = one.replace("\n", " ").replace("\t", " ").strip()
        return str(theirs.process_digit_article(theirs.process_punctuation(one)))

    for one, other in pairs(2000):
        assert read_vqa(one) == read(one), one
        assert read_vqa(other) == read(other), other


def test_anls_is_theirs() -> None:
    from lmms_eval.api.metrics import anls

    for one, other in pairs(2000):
        theirs = anls([other], [one])["anls"]
        assert text.anls(one, [other]) == pytest.approx(theirs), (one, other)


def test_relaxed_accuracy_is_theirs() -> None:
    from lmms_eval.tasks.chartqa.utils import relaxed_correctness

    for one, other in pairs(2000):
        assert text.relaxed(one, [other]) == float(relaxed_correctness(one.strip(), other.strip())), (one, other)


def test_mme_reads_yes_and_no_as_they_do() -> None:
    from lmms_eval.tasks.mme.utils import parse_pred_ans

    for one, _ in pairs(2000):
        assert first_four(one) == parse_pred_ans(one), one


def test_gqa_differs_only_by_punctuation_inside() -> None:
    """Theirs ignores all punctuation, ours the last full stop, as LLaVA's."""
    from eos_platform.tasks.benchmarks.short import Gqa

    for said, gold, ours in (("Dog.", "dog", 1.0), ("the dog", "dog", 0.0), ("do-g", "dog", 0.0)):
        assert Gqa.score(SimpleNamespace(), said, SimpleNamespace(answer=gold)) == ours  # type: ignore[arg-type]
