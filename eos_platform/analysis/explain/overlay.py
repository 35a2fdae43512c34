"""Which tokens an operator keeps on a few example pictures: worked out where the model is, drawn where it is not.

Runs in worker processes, which must stay light: no MLflow, no pandas here.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from eos_platform.analysis.comparison.pictures import chosen, examples, kept_on
from eos_platform.common import strict_json
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import EncodedQuestions

QUESTIONS = 48  # held-out ones to choose the examples from
PICTURES = 4

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
