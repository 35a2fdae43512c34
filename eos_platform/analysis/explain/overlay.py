"""Which tokens an operator keeps on a few example pictures, and what the model answers with it.

Worked out where the model is, shown where it is not.

Runs in worker processes, which must stay light: no MLflow, no pandas here.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch

from eos_platform.analysis.comparison.pictures import LONGEST, chosen, examples, kept_on
from eos_platform.common import strict_json
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.answers.generate import answers
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import EncodedQuestions

QUESTIONS = 48  # held-out ones to choose the examples from
PICTURES = 4
TOKENS = 32  # of an answer, at most

# a set of its own: a workload may keep one of each split only, and the final comparison's is dear
_SHOWN: WeakKeyDictionary[Any, EncodedQuestions] = WeakKeyDictionary()


def _shown(workload: Subject) -> EncodedQuestions:
    if workload.model not in _SHOWN:
        _SHOWN[workload.model] = workload.few("heldout", QUESTIONS)
    return _SHOWN[workload.model]


def example_pictures(workload: Subject) -> list[dict[str, Any]]:
    """The pictures with their questions: ``png`` (a data URI), ``grid``, ``text``, ``answer``, ``skill``."""
    return examples(_shown(workload), PICTURES)


def kept_json(workload: Subject, operator: OperatorSpec) -> str:
    """JSON: a list for each example, with ``place``, ``layer``, ``origin`` and ``size`` of each site's tokens."""
    encoded = _shown(workload)
    return strict_json.dumps(
        kept_on(workload, operator, encoded.encoded_with(operator), chosen(encoded, PICTURES)), compact=True
    )


def answers_json(workload: Subject, operator: OperatorSpec | None) -> str:
    """JSON: for each example what the deployed model writes (``given``), and what that is worth (``worth``, 0 to 1).

    It is written as a user's model writes it, by ``generate``; the worth is the evaluation's own.

    Args:
        operator: None: the unreduced model.
    """
    encoded = _shown(workload)
    return strict_json.dumps(answered_on(workload, operator, encoded, chosen(encoded, PICTURES)), compact=True)


@torch.no_grad()
def answered_on(
    workload: Subject, operator: OperatorSpec | None, encoded: EncodedQuestions, questions: list[int]
) -> list[dict[str, Any]]:
    """The same for questions of these numbers, as plain data."""
    if not questions:
        return []
    asked: Any = workload  # not every subject has a processor
    seen = encoded.encoded_with(operator) if operator is not None else encoded
    worth_b = seen.scores(seen.batch(torch.tensor(questions, device=workload.model.device)), operator)
    put = [encoded.example(number) for number in questions]
    groups = answers(asked.model, asked.processor, put, operator, batch=len(put), most=TOKENS)
    texts = [text for group in groups for _, text in group]
    return [
        {"given": text[:LONGEST], "worth": float(worth)} for text, worth in zip(texts, worth_b.tolist(), strict=True)
    ]
