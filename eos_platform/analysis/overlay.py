"""Which tokens an operator keeps on a few example pictures: worked out where the model is, drawn where it is not.

Runs in worker processes, which must stay light: no MLflow, no pandas here.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from eos_platform import strict_json
from eos_platform.analysis.comparison.pictures import chosen, examples, kept_on
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.encode import Encoded
from eos_platform.tasks.workload import Workload

QUESTIONS = 48  # held-out ones to choose the examples from
PICTURES = 4

# a set of its own: the workload keeps one of each split, and the final comparison's is dear
_SHOWN: WeakKeyDictionary[Any, Encoded] = WeakKeyDictionary()


def _shown(workload: Workload) -> Encoded:
    if workload.model not in _SHOWN:
        tokenizer = workload.processor.tokenizer
        _SHOWN[workload.model] = Encoded(workload.model, tokenizer, "heldout", QUESTIONS, workload.config)
    return _SHOWN[workload.model]


def example_pictures(workload: Workload) -> list[dict[str, Any]]:
    """The pictures with their questions: ``png`` (a data URI), ``grid``, ``text``, ``answer``, ``skill``."""
    return examples(workload, _shown(workload), PICTURES)


def kept_json(workload: Workload, operator: OperatorSpec) -> str:
    """JSON: a list for each example, with ``place``, ``layer``, ``origin`` and ``size`` of each site's tokens."""
    encoded = _shown(workload)
    return strict_json.dumps(
        kept_on(workload, operator, encoded.seen_by(operator), chosen(encoded, PICTURES)), compact=True
    )
