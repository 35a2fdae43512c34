"""One operator, measured: a line of JSON with everything reports are made of."""

from __future__ import annotations

import time
from typing import Any

from eos_platform.analysis.comparison.pictures import kept_on
from eos_platform.analysis.stats.bitpack import pack
from eos_platform.common import strict_json
from eos_platform.costs.flops import compute_ratio, prefill_flops
from eos_platform.costs.prefill_time import prefill_cost
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import Asked
from eos_platform.tasks.evaluate import evaluate
from eos_platform.tasks.typical import typical

Record = dict[str, Any]


def measure(
    workload: Subject,
    operator: OperatorSpec | None,
    *,
    questions: int = 4096,
    batch: int = 8,
    shown: list[int] | None = None,
) -> Record:
    """What a deployed operator (None: the model left alone) gets right on held-out questions, and what it costs.

    Args:
        questions: held-out questions, the first so many.
        batch: prompts in the prefill that is timed.
        shown: numbers of the questions whose pictures show the tokens kept.

    Raises:
        EosError: an operator made for another model.
    """
    started = time.monotonic()
    spec = operator or OperatorSpec(name="unreduced", target=workload.target)
    found = evaluate(workload, operator, "heldout", questions)
    seconds = time.monotonic() - started
    encoded = as_seen(workload.encoded("heldout", questions), operator)
    shape, text, tokens = workload.shape, workload.text_tokens, workload.target.tokens
    return {
        "accuracy": found.accuracy,
        "questions": found.questions,
        "per_skill": {skill: round(share, 6) for skill, share in found.per_skill.items()},
        "correct": pack(found.scores),
        "compute_ratio": float(compute_ratio(spec, shape, text)),
        "flops": float(prefill_flops(shape, text, spec, tokens)),
        "counted_flops": workload.counted_flops(operator),
        "whole_model_ratio": workload.whole_ratio(spec),
        "mean_tokens": spec.mean_tokens,
        "tokens_left": spec.tokens_left,
        "regime": spec.regime,
        **prefill_cost(workload.model, operator, typical(encoded, batch).prefill),
        "kept": kept_on(workload, spec, encoded, shown or []) if operator else [],
        "operator": strict_json.loads(spec.to_json()) if operator else None,
        "seconds": seconds,
    }


def as_seen(encoded: Asked, operator: OperatorSpec | None) -> Asked:
    """The questions as they leave the operator's vision tower."""
    return encoded if operator is None else encoded.seen_by(operator)
