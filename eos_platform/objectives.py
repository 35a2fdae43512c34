"""The axes of a study's front: which metrics may be one, in which direction, and how their values are shown.

A study file names two or three of them; from there on they travel as data: with every trial, the Optuna store, the
study's MLflow run and the figures. Nothing but this table knows a metric by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError, did_you_mean, shown, unknown
from eos_platform.protocols import Cost, Objective

ACCURACY = "accuracy"
GROUP = "accuracy/"  # accuracy at one kind of question
FEWEST, MOST = 2, 3

# costs that every study can measure; always of the deployed operator
COSTS: dict[str, Objective] = {
    "compute_ratio": Objective("compute_ratio", "minimise", "compute ratio", ".3f", 1.0),
    "prefill_ms": Objective("prefill_ms", "minimise", "prefill ms", ".1f"),
    "mean_tokens": Objective("mean_tokens", "minimise", "mean tokens", ".0f"),
    "tokens_left": Objective("tokens_left", "minimise", "tokens left", ".0f"),
}
DEFAULT: tuple[Objective, ...] = (Objective(ACCURACY, "maximise", ACCURACY, ".1%", 0.0), COSTS["compute_ratio"])


def named(metric: str, costs: Mapping[str, Cost] | None = None) -> Objective:
    """The objective of a metric, in the one direction that makes sense of it.

    Args:
        costs: by name, those that may be an objective beside ``COSTS``.

    Raises:
        EosError: no metric of that name can be an objective.
    """
    if metric == ACCURACY:
        return DEFAULT[0]
    if metric.startswith(GROUP):
        group = metric.removeprefix(GROUP)
        if group == "all":
            raise EosError(f"objective '{metric}': accuracy at all questions is '{ACCURACY}'")
        if not re.fullmatch(r"\w[\w .:-]*", group):  # what MLflow takes for the name of a metric
            raise EosError(f"objective {shown(metric)}: expected accuracy/<group>, a group of the task's questions")
        return Objective(metric, "maximise", metric, ".1%", 0.0)
    if metric in COSTS:
        return COSTS[metric]
    if costs is not None and metric in costs:
        return of_cost(costs[metric])
    raise unknown("objective", metric, [ACCURACY, *dict.fromkeys([*COSTS, *(costs or ())]), f"{GROUP}<group>"])


def of_cost(cost: Cost) -> Objective:
    """A cost as an objective."""
    if cost.relative:
        return Objective(cost.name, "minimise", cost.label, ".3f", 1.0)
    return Objective(cost.name, "minimise", cost.label, ".4g")


def parse(given: Mapping[str, str], costs: Mapping[str, Cost] | None = None) -> tuple[Objective, ...]:
    """The objectives that a study file names; what is maximised comes first, otherwise in the file's order.

    Args:
        given: "maximise" or "minimise" by metric.
        costs: as for ``named``.

    Raises:
        EosError: an unknown name, a direction that makes no sense, too few or too many.
    """
    objectives = []
    for metric, direction in given.items():
        objective = named(metric, costs)
        if direction != objective.direction:
            hint = did_you_mean(direction, [objective.direction])
            raise EosError(f"{metric} can only be {objective.direction}d, not {shown(direction)}{hint}")
        objectives.append(objective)
    if not FEWEST <= len(objectives) <= MOST:
        raise EosError(f"two or three objectives are needed, not {len(objectives)}; such as {_words(DEFAULT)}")
    return tuple(sorted(objectives, key=lambda one: -one.sign))


def _words(objectives: Iterable[Objective]) -> str:
    return ", ".join(f"{one.metric}: {one.direction}" for one in objectives)


def to_json(objectives: Sequence[Objective]) -> str:
    """Objectives as MLflow's tag holds them; ``from_json`` reads it, where the metric's package is missing, too."""
    return strict_json.dumps([vars(one) for one in objectives], compact=True)


def from_json(text: str | None) -> tuple[Objective, ...]:
    """The objectives in a tag; the default ones where there is none, or none that can be read."""
    try:
        objectives = tuple(_objective(one) for one in strict_json.loads(text or ""))
    except (EosError, ValueError, TypeError, KeyError):
        return DEFAULT
    return objectives if FEWEST <= len(objectives) <= MOST else DEFAULT


def _objective(values: Mapping[str, Any]) -> Objective:
    if values["direction"] not in ("maximise", "minimise"):
        raise ValueError(values["direction"])
    worst = values.get("worst")
    form = str(values.get("format", ".3f"))
    format(0.5, form)
    return Objective(
        str(values["metric"]),
        values["direction"],
        str(values.get("label") or values["metric"]),
        form,
        None if worst is None else float(worst),
    )


def losses(objectives: Sequence[Objective], values: Sequence[float]) -> tuple[float, ...]:
    """The values as numbers of which less is better."""
    return tuple(-one.sign * value for one, value in zip(objectives, values, strict=True))


def front_title(objectives: Sequence[Objective]) -> str:
    """What a figure of the front is called."""
    if tuple(objectives) == DEFAULT:
        return "Accuracy against compute"
    first, *others = (one.label for one in objectives)
    return f"{first[:1].upper()}{first[1:]} against {' and '.join(others)}"
