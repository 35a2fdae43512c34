"""One operator, measured: a line of JSON with everything reports are made of."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from eos_platform.analysis.comparison.pictures import kept_on
from eos_platform.analysis.stats.bitpack import pack
from eos_platform.common import strict_json
from eos_platform.common.boundary import reading
from eos_platform.common.errors import EosError
from eos_platform.costs.device.known import predictor_of, profile_of
from eos_platform.costs.flops import compute_ratio, prefill_flops
from eos_platform.costs.prefill_time import prefill_cost
from eos_platform.costs.registry import COSTS
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import Setting
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import EncodedQuestions
from eos_platform.tasks.evaluate import evaluate
from eos_platform.tasks.typical import cost_context, typical

Record = dict[str, Any]


def measure(
    workload: Subject,
    operator: OperatorSpec | None,
    *,
    questions: int = 4096,
    batch: int = 8,
    shown: list[int] | None = None,
    profile: Path | None = None,
) -> Record:
    """What a deployed operator (None: the unreduced model) gets right on held-out questions, and what it costs.

    Args:
        questions: held-out questions, the first so many.
        batch: prompts in the prefill that is timed.
        shown: numbers of the questions whose pictures show the tokens kept.
        profile: a device's, from which the prefill's milliseconds are predicted.

    Raises:
        EosError: an operator made for another model.
    """
    started = time.monotonic()
    spec = operator or OperatorSpec(name="unreduced", target=workload.target)
    evaluation = evaluate(workload, operator, "heldout", questions)
    seconds = time.monotonic() - started
    encoded = as_seen(workload.encoded("heldout", questions), operator)
    shape, text, tokens = workload.shape, workload.text_tokens, workload.target.tokens
    return {
        "accuracy": evaluation.accuracy,
        "questions": evaluation.questions,
        "per_skill": {skill: round(share, 6) for skill, share in evaluation.per_skill.items()},
        "correct": pack(evaluation.scores),
        "compute_ratio": float(compute_ratio(spec, shape, text)),
        "flops": float(prefill_flops(shape, text, spec, tokens)),
        "counted_flops": workload.counted_flops(operator),
        "whole_model_ratio": workload.whole_ratio(spec),
        "mean_tokens": spec.mean_tokens,
        "tokens_left": spec.tokens_left,
        "costs": _costs(workload, operator) | _predicted(workload, operator, profile),
        "regime": spec.regime,
        **prefill_cost(workload.model, operator, typical(encoded, batch).prefill),
        "kept": kept_on(workload, spec, encoded, shown or []) if operator else [],
        "operator": strict_json.loads(spec.to_json()) if operator else None,
        "seconds": seconds,
    }


_SAID = ("compute_ratio", "mean_tokens", "tokens_left")  # costs that every record has by themselves


def _costs(workload: Subject, operator: OperatorSpec | None) -> dict[str, float]:
    """Every other cost that does not vary from one measurement to the next; one that fails is left out."""
    context, evaluation = cost_context(workload), {}
    for name, cost in COSTS.items():
        if cost.deterministic and name not in _SAID:
            with suppress(EosError), reading(f"cost '{name}'"):
                evaluation[name] = float(cost.measure(context, operator))
    return {name: value for name, value in evaluation.items() if math.isfinite(value)}


def _predicted(workload: Subject, operator: OperatorSpec | None, profile: Path | None) -> dict[str, float]:
    """Milliseconds of the prefill as a device profile predicts them, in all its modes and at all its batch sizes; none
    of an operator that it does not cover."""
    known = profile_of(Setting(profile=str(profile or "")))
    found: dict[str, float] = {}
    for mode, batch in known.settings() if known else ():
        context = cost_context(workload, setting=Setting(batch, mode, profile=str(profile)))
        predictor = predictor_of(COSTS["prefill_ms"], context)
        with suppress(EosError):
            assert known is not None
            assert predictor is not None
            name = f"prefill ms predicted for {known.machine}, {mode}, batch {batch}"
            found[name] = predictor.predict(operator)
    return found


def as_seen(encoded: EncodedQuestions, operator: OperatorSpec | None) -> EncodedQuestions:
    """The questions as they leave the operator's vision tower."""
    return encoded if operator is None else encoded.encoded_with(operator)
