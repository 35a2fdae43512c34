"""One cell of the matrix: an operator brought to a place, deployed there, and asked held-out questions."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eos_platform.analysis.stats.bitpack import pack
from eos_platform.analysis.transfer.adapting import adapted
from eos_platform.analysis.transfer.calibration.choice import calibrated
from eos_platform.analysis.transfer.fitted import fitted, rescaled, within
from eos_platform.analysis.transfer.hardware import Hardware
from eos_platform.analysis.transfer.places import Place
from eos_platform.analysis.transfer.plan import (
    ADAPTED_CALIBRATED,
    ADAPTED_CARRIED,
    ANEW,
    CALIBRATED,
    CARRIED,
    UNCHANGED,
    UNREDUCED,
    ZERO_SHOT,
    Item,
    Settings,
    places_by_name,
)
from eos_platform.analysis.transfer.probes import QUESTIONS, carried
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.costs.flops import compute_ratio
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import SearchCost, flops_cost
from eos_platform.search.portfolio.find import find
from eos_platform.tasks.base import Subject
from eos_platform.tasks.evaluate import evaluate

Record = dict[str, Any]
Load = Callable[[Place], Subject]


def measure(
    item: Item,
    workload: Subject,
    settings: Settings,
    source: tuple[OperatorSpec, Place | None] | None,
    load: Load,
    report: Callable[[int, dict[str, float]], None] | None = None,
    checkpoint: Path | None = None,
) -> Record:
    """A cell's record; one that cannot be has ``status`` ``refused`` and the reason.

    Args:
        item: the cell.
        workload: its place, loaded.
        settings: of the matrix.
        source: the operator, and the place it was found in (None: a file's, known by its model's name alone); None for
            what is not transferred.
        load: loads a model on the questions of another place.
        report: of the steps of a search.
        checkpoint: a folder for a search's state.
    """
    record: Record = {"key": item.key, "kind": item.kind, "place": item.place, "source": item.source}
    record |= {"budget": item.budget, "seed": item.seed, "steps": 0, "prompts": 0, "changes": []}
    begun = time.monotonic()
    try:
        hardware = places_by_name(settings)[item.place].hardware
        config, cost = _priced(settings.config(item.budget, item.seed, _steps(item, settings)), workload, hardware)
        operator, found = _operator(item, workload, config, cost, source, load, report, checkpoint)
        seconds = time.monotonic() - begun + found.pop("seconds_before", 0.0)
        evaluation = evaluate(workload, operator, "heldout", settings.questions)
        if hardware is not None:
            found["cost"] = _spent(hardware, config, cost, operator)
    except EosError as error:
        return record | {"status": "refused", "reason": str(error)}
    spec = operator or OperatorSpec(name=UNREDUCED, target=workload.target)
    return (
        record
        | found
        | {
            "status": "measured",
            "accuracy": evaluation.accuracy,
            "questions": evaluation.questions,
            "scores": pack(evaluation.scores),
            "per_skill": {name: round(value, 6) for name, value in evaluation.per_skill.items()},
            "compute_ratio": float(compute_ratio(spec, workload.shape, workload.text_tokens)),
            "mean_tokens": spec.mean_tokens,
            "seconds": seconds,
            "about": about(workload),
            "operator": strict_json.loads(spec.to_json()) if operator else None,
        }
    )


def about(workload: Subject) -> dict[str, Any]:
    """What may tell beforehand whether an operator will do."""
    config = workload.model.config
    return {
        "family": str(getattr(config, "model_type", type(workload.model).__name__)),
        "task": workload.task,
        "layers": workload.target.layers,
        "tokens": workload.target.tokens,
        "hidden": workload.shape.hidden,
        "text_tokens": workload.text_tokens,
    }


def _steps(item: Item, settings: Settings) -> int:
    return settings.steps if item.kind in (UNREDUCED, ANEW) else settings.adapt_steps


def _priced(config: SearchConfig, workload: Subject, hardware: Hardware | None) -> tuple[SearchConfig, SearchCost]:
    """Settings for the cost of a place, and that cost."""
    return (config, flops_cost(workload)) if hardware is None else hardware.config(config, workload)


def _spent(hardware: Hardware, config: SearchConfig, cost: SearchCost, operator: OperatorSpec | None) -> Record:
    """What a deployed operator costs at a place with a cost of its own, as computed or predicted."""
    about = {"name": hardware.cost, "unit": hardware.measured.unit, "unreduced": cost.whole, "budget": config.budget}
    return about | {"predicted": cost.whole if operator is None else cost.deployed(operator)}


def _operator(
    item: Item,
    workload: Subject,
    config: SearchConfig,
    cost: SearchCost,
    source: tuple[OperatorSpec, Place | None] | None,
    load: Load,
    report: Callable[[int, dict[str, float]], None] | None,
    checkpoint: Path | None,
) -> tuple[OperatorSpec | None, Record]:
    if item.kind == UNREDUCED:
        return None, {}
    if item.kind == ANEW:
        result = find(workload, config, report=report, checkpoint=checkpoint)
        found: Record = {"steps": config.steps, "validation": result.accuracy, "prompts": result.samples}
        return result.operator, found
    if source is None:
        raise EosError(f"no operator was found on {item.source} at {item.budget:g}")
    original, origin = source
    if item.kind == UNCHANGED:
        operator, changes = rescaled(original, workload)
        workload.check(operator)
        return operator, {"changes": changes, "directed": any(site.probe for site in original.sites)}
    operator, changes = fitted(original, workload, cost, config.budget)
    found = {"changes": changes, "directed": any(site.probe for site in original.sites)}
    if item.kind in (CARRIED, ADAPTED_CARRIED):
        if origin is None:
            raise EosError("where the operator was found is not known: its directions cannot be carried")
        directed = carried(original, operator, load(origin), workload)
        operator = within(directed, operator, original, workload, cost, config.budget)
        found["prompts"] = 2 * QUESTIONS
    if item.kind in (CALIBRATED, ADAPTED_CALIBRATED):
        rank = config.steering_rank if config.learns_directions else None
        made = calibrated(original, workload, cost, config.budget, rank)
        operator = made.operator
        found |= {"changes": made.changes, "prompts": made.prompts, "seconds_before": made.seconds}
    if item.kind in (ZERO_SHOT, CARRIED, CALIBRATED):
        return operator, found
    done = adapted(operator, workload, config, cost, report, checkpoint)
    found |= {"steps": config.steps, "validation": done.validation}
    found["changes"] = [*found["changes"], *done.changes]
    return done.operator, found | {"prompts": found.get("prompts", 0) + done.prompts}
