"""A trial's result as plain data: how workers report it, how it lies beside a search's state, and the way back.

It is written beside the state before it is reported: a driver that dies in between finds it, and nothing is searched
twice. Read are today's form and that of earlier versions (all numbers under ``final``), each as it was written or
flattened by Ray Tune (``result/scores/accuracy``). Runs in workers and in the driver.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import read_text, write_atomic
from eos_platform.common.former_names import SEARCH
from eos_platform.costs.registry import COMPUTE
from eos_platform.objectives import ACCURACY, DEFAULT, GROUP
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import Objective, TrialResult

RESULT = "result.json"  # beside a search's state
KEY, FINAL = "result", "final"  # where a report carries it; where earlier versions did
NUMBERS = ("values", "scores", "costs", "notes")
SAMPLES, SECONDS = "samples", "seconds"
NOTES = ("relaxed_accuracy",)


def found(searched: Any, also: Mapping[str, float], objectives: Sequence[Objective]) -> TrialResult:
    """A search's result, and what was measured of its operator afterwards."""
    operator = searched.operator
    numbers = {
        **spent(searched),
        "accuracy": searched.accuracy,
        "compute_ratio": searched.compute_ratio,
        "mean_tokens": searched.mean_tokens,
        "tokens_left": operator.tokens_left,
        "relaxed_accuracy": searched.relaxed_accuracy,
        SAMPLES: searched.samples,
        SECONDS: searched.seconds,
    }
    known = {name: float(value) for name, value in numbers.items() if value is not None}
    return make({**known, **also}, objectives, operator.to_json(), operator.regime)


def spent(searched: Any) -> dict[str, float]:
    """The cost that the search's budget is about, where that is not the compute ratio."""
    cost = getattr(searched, "cost", None)  # a stand-in for the search may have none
    return {} if cost is None or cost.name == COMPUTE else {cost.name: float(cost.value)}


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


def last_report(kept: Mapping[str, Any], objectives: Sequence[Objective], study: str, number: int) -> dict[str, Any]:
    """What a worker reports at the end: the result that it kept, its operator named after the trial.

    Raises:
        EosError: it cannot be read.
    """
    result = read(kept, objectives)
    if result is None:  # ``find`` lets no such file through
        raise EosError(f"trial {number}: its kept result cannot be read")
    operator = OperatorSpec.from_json(result.operator, f"trial {number}")
    provenance = {**operator.provenance, "study": study, "trial": number}
    operator = operator.model_copy(update={"name": f"{study}-{number}", "provenance": provenance})
    result = replace(result, operator=operator.to_json(), regime=operator.regime)
    return {"finished": True, KEY: plain(result), "kept": kept.get("kept", "")}


def keep(folder: Path, search: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Keep the result of a search until the store has it. A disk that is full costs no more than this safety.

    Args:
        folder: where the search's state is.
        search: its fields.
    """
    with suppress(EosError):
        write_atomic(folder / RESULT, strict_json.dumps({"search": search, "result": result}))


def find(folder: Path, search: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an earlier attempt at the same search kept, if it came to its end."""
    with suppress(EosError):
        data, asked = strict_json.loads(read_text(folder / RESULT, "result")), strict_json.dumps(search)
        if isinstance(data, dict) and SEARCH.current(data.get("search")) == strict_json.loads(asked):
            return data["result"] if _sound(data.get("result")) else None
    return None


def _sound(result: Any) -> bool:
    """Whether this can be what a search found: finite numbers, and an operator."""
    if not isinstance(result, dict) or not isinstance(result.get("kept", ""), str):
        return False
    parsed = read(result, DEFAULT)
    if parsed is None or not all(map(is_number, measured(parsed).values())):
        return False  # NaN is the result of a search, and is no file's
    try:
        OperatorSpec.from_json(parsed.operator)
    except (EosError, TypeError):
        return False
    return True


def _under(data: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in data.items() if name.startswith(prefix)}


def is_number(value: Any) -> bool:
    """Whether this is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
