"""A first look: every design deployed at the budget, the best of them with other knobs as well; no gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eos_platform.common.errors import EosError
from eos_platform.operators.designs import get_design, suited
from eos_platform.operators.designs.base import Design, Knob, Value
from eos_platform.operators.spec import OperatorSpec, Target
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import SearchCost
from eos_platform.search.parameters import Structure
from eos_platform.search.portfolio.judge import Judge, Verdict
from eos_platform.search.starts.structure import matched, structure_at
from eos_platform.tasks.base import Subject

TUNED, VARIANTS = 3, 8  # designs whose knobs are tried, and how many sets of them
IDLE = ("zero",)  # nobody would deploy it


@dataclass(frozen=True)
class Candidate:
    """A design at the budget.

    Attributes:
        name: of the design.
        operator: deployed.
        verdict: on the questions of the first look.
        knobs: of the design, where they are not the published ones.
    """

    name: str
    operator: OperatorSpec
    verdict: Verdict
    knobs: Mapping[str, Any] = field(default_factory=dict)

    def structure(self, workload: Subject, config: SearchConfig, cost: SearchCost) -> Structure:
        """Where a search from it begins.

        Raises:
            EosError: it acts in the vision tower, or nothing fits the budget beside what a search adds.
        """
        design = get_design(self.name)
        mine = config.model_copy(update={"start": self.name})
        return structure_at(
            workload,
            self.operator,
            mine,
            cost,
            lambda budget: matched(workload, design, mine, cost, budget, self.knobs),
        )


def first_look(
    workload: Subject,
    config: SearchConfig,
    cost: SearchCost,
    judge: Judge,
    questions: int,
    names: Sequence[str] | None = None,
    count: int = VARIANTS,
) -> list[Candidate]:
    """The designs that can be deployed at the budget, best loss first; of the best, the best set of knobs tried.

    Args:
        questions: asked of each.
        names: of designs; default: all there are.
        count: sets of knobs that are tried of each of the best.
    """
    found: list[Candidate] = []
    for name in names if names is not None else suited(workload.target.frames):
        if name in IDLE:
            continue
        try:
            operator = matched(workload, get_design(name), config, cost)
            found.append(Candidate(name, operator, judge.verdict(operator, questions)))
        except EosError:
            continue  # it cannot reach the budget, or the model lacks what it reads
    found.sort(key=lambda one: one.verdict.loss)
    tuned = [tune(one, workload, config, cost, judge, questions, count) for one in found[:TUNED]]
    return sorted([*tuned, *found[TUNED:]], key=lambda one: one.verdict.loss)


def tune(
    candidate: Candidate,
    workload: Subject,
    config: SearchConfig,
    cost: SearchCost,
    judge: Judge,
    questions: int,
    count: int = VARIANTS,
) -> Candidate:
    """The same design with the best of some sets of knobs, its own among them."""
    design = get_design(candidate.name)
    best = candidate
    for knobs in variants(design, workload.target, config.seed, count):
        try:
            operator = matched(workload, design, config, cost, knobs=knobs)
            verdict = judge.verdict(operator, questions)
        except EosError:
            continue
        if verdict.loss < best.verdict.loss:
            best = Candidate(candidate.name, operator, verdict, knobs)
    return best


def variants(design: Design, target: Target, seed: int, count: int = VARIANTS) -> Iterator[dict[str, Value]]:
    """Sets of knobs: each choice of one knob alone first, then drawn at random; the published set is not among them."""
    knobs = design.knobs(target)
    published = {knob.name: knob.default for knob in knobs}
    rng = np.random.default_rng([seed, len(design.name)])
    alone = [{**published, knob.name: other} for knob in knobs for other in knob.choices if other != knob.default]
    seen, given = [published], 0
    for number in range(4 * count):
        drawn = alone[number] if number < len(alone) else {knob.name: _drawn(knob, rng) for knob in knobs}
        if drawn not in seen and given < count:
            seen.append(drawn)
            given += 1
            yield drawn


def _drawn(knob: Knob, rng: np.random.Generator) -> Value:
    if knob.choices:
        return knob.choices[int(rng.integers(len(knob.choices)))]
    low, high = float(knob.low or 0), float(knob.high or 0)
    if rng.random() < 0.3:
        return knob.default
    value = math.exp(rng.uniform(math.log(low), math.log(high))) if knob.log and low > 0 else rng.uniform(low, high)
    return min(round(value), int(high)) if isinstance(knob.default, int) else float(f"{value:.3g}")
