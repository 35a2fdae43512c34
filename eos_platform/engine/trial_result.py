"""A trial's result as plain data: how workers report it, how it lies beside a search's state, and the way back.

Read are today's form and that of earlier versions (all numbers under ``final``), each as it was written or flattened
by Ray Tune (``result/scores/accuracy``). Runs in workers and in the driver.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from eos_platform.objectives import ACCURACY, GROUP
from eos_platform.protocols import Objective, TrialResult

KEY, FINAL = "result", "final"  # where a report carries it; where earlier versions did
NUMBERS = ("values", "scores", "costs", "notes")
SAMPLES, SECONDS = "samples", "seconds"
NOTES = ("relaxed_accuracy",)


def make(measured: Mapping[str, Any], objectives: Sequence[Objective], operator: str, regime: str = "") -> TrialResult:
    """The result that says what was measured.

    Args:
        measured: numbers by name; what is None was not measured. What is no cost, score or note is known by name.
        operator: JSON.
    """
    known = {name: value for name, value in measured.items() if value is not None}
    counted = (SAMPLES, SECONDS, *NOTES)
    scores = {name: value for name, value in known.items() if name == ACCURACY or name.startswith(GROUP)}
    return TrialResult(
        values={one.metric: known[one.metric] for one in objectives if one.metric in known},
        scores=scores,
        costs={name: value for name, value in known.items() if name not in scores and name not in counted},
        operator=operator,
        regime=regime,
        samples=known.get(SAMPLES, 0),
        seconds=known.get(SECONDS, 0.0),
        notes={name: known[name] for name in NOTES if name in known},
    )


def measured(result: TrialResult) -> dict[str, Any]:
    """Every number of a result by name, in the order of the store's earlier versions."""
    skills = {name: value for name, value in result.scores.items() if name != ACCURACY}
    return {
        **{name: value for name, value in result.scores.items() if name == ACCURACY},
        **result.costs,
        **result.notes,
        **{name: value for name, value in ((SAMPLES, result.samples), (SECONDS, result.seconds)) if value},
        **skills,
    }


def plain(result: TrialResult) -> dict[str, Any]:
    """As JSON can hold it."""
    numbers = {name: dict(getattr(result, name)) for name in NUMBERS}
    data = {"operator": result.operator, "regime": result.regime, SAMPLES: result.samples, SECONDS: result.seconds}
    return {**numbers, **data}


def read(data: Mapping[str, Any], objectives: Sequence[Objective]) -> TrialResult | None:
    """The result within a report or a kept file, its numbers as they were found; None: there is none."""
    if isinstance(data.get(FINAL), Mapping):
        return make(data[FINAL], objectives, data.get("operator", ""), data.get("regime", ""))
    if old := _under(data, f"{FINAL}/"):
        return make(old, objectives, data.get("operator", ""), data.get("regime", ""))
    whole = data.get(KEY)
    if not isinstance(whole, Mapping):
        flat = _under(data, f"{KEY}/")
        whole = {name: value for name, value in flat.items() if "/" not in name}
        whole |= {name: _under(flat, f"{name}/") for name in NUMBERS}
        if not flat:
            return None
    parts = [whole.get(name) or {} for name in NUMBERS]
    if not all(isinstance(part, Mapping) for part in parts):
        return None
    values, scores, costs, notes = parts
    numbers_and_notes = {SAMPLES: whole.get(SAMPLES, 0), SECONDS: whole.get(SECONDS, 0.0), "notes": notes}
    return TrialResult(values, scores, costs, whole.get("operator", ""), whole.get("regime", ""), **numbers_and_notes)


def _under(data: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in data.items() if name.startswith(prefix)}


def sound(result: TrialResult | None) -> bool:
    """Whether every number is one, and finite: NaN is the result of a search, and is no file's."""
    return result is not None and all(map(is_number, measured(result).values()))


def is_number(value: Any) -> bool:
    """Whether this is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
