"""Which operators a comparison holds, in the order they are measured: cheap ones first, tuning last."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from eos_platform.analysis.comparison.settings import RATIOS, Settings
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.former_names import SEARCH
from eos_platform.costs.flops import compute_ratio
from eos_platform.models.runtime.operator_source import operator_from
from eos_platform.operators.designs import get_design
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.base import Subject

Family = Literal["unreduced", "hand-designed", "searched"]
Variant = Literal["", "published", "tuned", "given"]
SLACK = 1e-9  # an operator meets its own ratio, whatever the rounding


@dataclass(frozen=True)
class Entry:
    """One operator to measure. ``given`` is set where it is known beforehand."""

    name: str
    family: Family
    variant: Variant = ""
    design: str = ""
    ratio: float | None = None  # asked for; None: at the compute it has
    seed: int | None = None
    given: OperatorSpec | None = None
    detail: str = ""  # what else makes the result what it is

    @property
    def key(self) -> str:
        """Tells entries apart; a record with this key need not be measured again."""
        parts = (self.family, self.variant, self.design, _short(self.ratio), _short(self.seed), self.detail)
        return "|".join(parts)


def plan(settings: Settings, workload: Subject) -> list[Entry]:
    """Every entry of a comparison.

    Raises:
        EosError: an operator file that cannot be read.
    """
    files = [(str(path), operator_from(path)) for path in settings.operators]
    costs = [_cost(operator, where, workload) for where, operator in files]
    ratios = sorted(set(settings.ratios or _rounded_up(costs) or RATIOS), reverse=True)
    entries = [Entry("unreduced", "unreduced")]
    entries += [
        _given(operator, cost, ratios, str(path.name))
        for path, (_, operator), cost in zip(settings.operators, files, costs, strict=True)
    ]
    names = settings.design_names(workload.target.frames)
    entries += [Entry(name, "hand-designed", "published", name) for name in names if is_fixed(name)]
    matched = [name for name in names if not is_fixed(name)]
    for ratio in ratios:
        entries += [Entry(f"{name} at {ratio:g}", "hand-designed", "published", name, ratio) for name in matched]
    entries += _searches(settings, ratios)
    if settings.tune:
        budget = f"tune {settings.tune} x {settings.samples // settings.tune}"
        for ratio in ratios:
            for name in matched:
                if get_design(name).knobs(workload.target):
                    shown = f"{name} at {ratio:g}, tuned"
                    entries.append(Entry(shown, "hand-designed", "tuned", name, ratio, detail=budget))
    return list({entry.key: entry for entry in entries}.values())


def is_fixed(name: str) -> bool:
    """Whether a design has one compute only, so that nothing can be matched."""
    return bool(get_design(name).fixed)


def _searches(settings: Settings, ratios: list[float]) -> Iterator[Entry]:
    digest = hashlib.sha256(strict_json.dumps(SEARCH.former(settings.search), sort_keys=True).encode()).hexdigest()[:8]
    for ratio in ratios:
        for seed in range(settings.searches):
            yield Entry(f"searched at {ratio:g}, seed {seed}", "searched", "", "", ratio, seed, detail=digest)


def _given(operator: OperatorSpec, cost: float, ratios: list[float], file: str) -> Entry:
    """An operator file, at the smallest ratio it meets; one that names its design is hand-designed."""
    design = str(operator.provenance.get("design", ""))
    family: Family = "hand-designed" if design else "searched"
    ratio = min((ratio for ratio in ratios if cost <= ratio + SLACK), default=None)
    mark = operator.fingerprint
    seed = operator.provenance.get("search")
    seed = seed.get("seed") if isinstance(seed, dict) else None
    return Entry(
        name=f"{operator.name} ({file})",
        family=family,
        variant="given",
        design=design,
        ratio=ratio,
        seed=seed if isinstance(seed, int) else None,
        given=operator,
        detail=mark,
    )


def _cost(operator: OperatorSpec, where: str, workload: Subject) -> float:
    if (operator.target.layers, operator.target.grid) != (workload.target.layers, workload.target.grid):
        raise EosError(f"{where}: made for {operator.target.model or 'another model'}, not for '{workload.name}'")
    return float(compute_ratio(operator, workload.shape, workload.text_tokens))


def _rounded_up(costs: list[float]) -> set[float]:
    """Ratios of operator files: up, to four digits, so that each meets its own."""
    return {math.ceil(1e4 * cost - 1e-6) / 1e4 for cost in costs}


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
