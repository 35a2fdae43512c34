"""Several starts, the best of them refined, and the result held against every design: what a search does by default.

1. A first look deploys every design at the budget; of the best, other knobs as well. No gradient.
2. A few starts get a short search each (``race.py``): the search's own, those with rounds of pairs, the best design.
   The better half goes on, and of these the one that deploys best gets a whole search.
3. A short walk over what is discrete (``local.py``), deployed.
4. The guard: every design that might be better is compared on the same questions. If one is, the search goes on from
   it; what is best in the end is returned, and said.

All of it is judged on validation questions of its own: neither gradients nor the accuracy that is reported see them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.costs.flops import compute_ratio
from eos_platform.costs.registry import COMPUTE
from eos_platform.operators.designs import DESIGNS, suited
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import SearchCost
from eos_platform.search.discretise import BudgetError
from eos_platform.search.meeting import meet
from eos_platform.search.parameters import Structure
from eos_platform.search.portfolio.candidates import Candidate, first_look
from eos_platform.search.portfolio.guard import ahead, remarks_on
from eos_platform.search.portfolio.judge import Judge
from eos_platform.search.portfolio.local import improved
from eos_platform.search.portfolio.race import RESUME, Race, Racer, resumed
from eos_platform.search.run import Measure, Report, SearchResult, search
from eos_platform.search.scale.resources import Resources
from eos_platform.search.start import check
from eos_platform.search.starts.structure import DEFAULT, LATE, PAIRS, structure_of
from eos_platform.tasks.base import Subject
from eos_platform.tasks.evaluate import evaluate
from eos_platform.tasks.together import Tell

LOOK, JUDGED = 256, 1024  # validation questions of the first look, and of all later decisions
RACERS = 4
WHOLE = 0.9  # of the steps: the winner's search
GUARD = 0.25  # of the steps: a search that goes on from a design
MEASURED = ("whole", "guard")  # searches whose relaxed form is held against the deployed one
WALK = 24  # operators deployed in the walk over what is discrete


def find(
    workload: Subject,
    config: SearchConfig,
    *,
    report: Report | None = None,
    checkpoint: Path | None = None,
    start: Mapping[str, Tensor] | None = None,
    measure: Measure | None = None,
    cost: SearchCost | None = None,
    resources: Resources | None = None,
    tell: Tell | None = None,
) -> SearchResult:
    """Search an operator from the start that suits the model best.

    With ``config.portfolio`` off it is ``search`` itself; likewise with ``servable``, as most designs cannot be served.

    Args:
        report, checkpoint, measure, cost, resources, tell: see ``search``. Steps are counted on from search to search.
        start: parameters of an earlier result; then nothing else is tried.

    Raises:
        EosError: as ``search``; or a portfolio that names no start there is.
    """
    if not config.portfolio or start or config.servable:
        return search(
            workload, config, report=report, checkpoint=checkpoint, start=start, measure=measure, cost=cost,
            resources=resources, tell=tell,
        )  # fmt: skip
    return _Portfolio(workload, config, report, checkpoint, measure, cost, resources, tell).run()


def planned_steps(config: SearchConfig) -> int:
    """Steps that ``find`` takes, about."""
    if not config.portfolio or config.servable:
        return config.steps
    first, second = Race.shares(config)
    return RACERS * first + RACERS // 2 * second + max(4, round(WHOLE * config.steps))


class _Portfolio:
    def __init__(
        self,
        workload: Subject,
        config: SearchConfig,
        report: Report | None,
        folder: Path | None,
        measure: Measure | None,
        cost: SearchCost | None,
        resources: Resources | None,
        tell: Tell | None,
    ) -> None:
        self.workload, self.config, self.report, self.folder, self.measure = workload, config, report, folder, measure
        self.resources, self.tell = resources, tell
        self.begun = time.monotonic()
        self.cost = check(workload, config, cost)
        self.designs, self.own = self._named()
        self.judge = Judge(workload, config.eval_questions, JUDGED)
        self.trail: dict[str, Any] = {}
        self.history: list[dict[str, float]] = []
        self.steps = self.samples = 0

    def _named(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Designs to look at, and starts of the search's own."""
        chosen = self.config.portfolio
        if isinstance(chosen, bool):
            return suited(self.workload.target.frames), (DEFAULT, PAIRS, LATE)
        own = tuple(name for name in chosen if name in (DEFAULT, PAIRS, LATE))
        designs = tuple(name for name in chosen if name not in own)
        for name in designs:
            DESIGNS.get_named(name)
        return designs, own

    def run(self) -> SearchResult:
        looked = first_look(self.workload, self.config, self.cost, self.judge, LOOK, self.designs)
        self.trail["look"] = [
            {"design": one.name, "knobs": dict(one.knobs), "loss": one.verdict.loss, "accuracy": one.verdict.accuracy}
            for one in looked
        ]
        marks = [time.monotonic()]
        racers = self._racers(looked)
        if not racers:
            raise EosError("portfolio: none of these starts can be searched from on this model at this budget")
        race = Race(racers, self.config, self._search, self.judge)
        ranking = race.run()
        self.trail["race"] = race.told
        marks.append(time.monotonic())
        winner, found = self._whole(ranking)
        marks.append(time.monotonic())
        result, finder = self._walked(found, "walk"), winner.name
        marks.append(time.monotonic())
        result, finder = self._guarded(result, finder, looked)
        marks.append(time.monotonic())
        self.trail["seconds"] = [
            round(late - early, 2) for early, late in zip([self.begun, *marks], marks, strict=False)
        ]
        return self._reported(result, finder, winner.name, looked)

    def _whole(self, ranking: list[Racer]) -> tuple[Racer, SearchResult]:
        """The first that a whole search brings within the budget, and its result."""
        whole = self.config.model_copy(update={"steps": max(4, round(WHOLE * self.config.steps))})
        refused: list[BudgetError] = []
        for racer in ranking:
            try:
                return racer, self._search(racer, whole, "whole")
            except BudgetError as error:
                refused.append(error)
        raise refused[0]

    def _racers(self, looked: list[Candidate]) -> list[Racer]:
        """The search's own starts and the best designs that gradients can begin at."""
        racers: list[Racer] = []
        for name in dict.fromkeys((self.config.start, *self.own)):
            if name not in (*self.own, self.config.start):
                continue
            try:
                mine = self.config.model_copy(update={"start": name})
                racers.append(Racer(name, structure_of(self.workload, mine, self.cost)))
            except EosError:
                continue
        for candidate in looked:
            if len(racers) >= RACERS:
                break
            try:
                structure = candidate.structure(self.workload, self.config, self.cost)
                self.judge.encoded.encoded_with(OperatorSpec(target=self.workload.target, sites=structure.head))
            except EosError:
                continue
            if all(candidate.name != racer.name for racer in racers):
                racers.append(Racer(candidate.name, structure))
        return racers

    def _search(self, racer: Racer, config: SearchConfig, stage: str) -> SearchResult:
        before = self.steps

        def report(step: int, curves: dict[str, float]) -> None:
            if self.report is not None:
                self.report(before + step, curves)

        result = search(
            self.workload,
            config.model_copy(update={"start": racer.name}),
            report=report,
            checkpoint=None if self.folder is None else self.folder / f"{stage}-{racer.name}",
            start=racer.parameters,
            measure=self.measure if stage == "whole" else None,
            cost=self.cost,
            structure=racer.structure,
            judge=lambda operator: self.judge.verdict(operator).loss,
            measured=stage in MEASURED,
            meets=False,  # the result alone
            resources=self.resources,
            tell=self.tell if stage == "whole" else None,  # the short ones are not worth an estimate each
        )
        self.history += [{**row, "step": before + row["step"]} for row in result.history]
        self.steps, self.samples = before + config.steps, self.samples + result.samples
        return result

    def _walked(self, found: SearchResult, name: str) -> SearchResult:
        """After the walk over what is discrete."""
        operator, taken = improved(
            self.workload, found.operator, self.cost.deployed, self.config.budget, self.judge, WALK
        )
        self.trail[name] = {
            "taken": taken,
            "loss": [self.judge.verdict(one).loss for one in (found.operator, operator)],
            "accuracy": [self.judge.verdict(one).accuracy for one in (found.operator, operator)],
        }
        return replace(found, operator=operator)

    def _guarded(self, result: SearchResult, finder: str, looked: list[Candidate]) -> tuple[SearchResult, str]:
        """The result, or what a better design became when the search went on from it."""
        better = ahead(looked, self.judge, result.operator)
        self.trail["guard"] = {"better": [one.name for one in better], "refined": "", "returned": finder}
        if not better:
            return result, finder
        design = better[0]
        best, name = replace(result, operator=design.operator), design.name
        try:
            structure = design.structure(self.workload, self.config, self.cost)
            steps = max(4, round(GUARD * self.config.steps))
            refined = self._search(Racer(design.name, structure), resumed(self.config, steps), "guard")
            self.trail["guard"]["refined"] = design.name
            if self.judge.verdict(refined.operator).rank > self.judge.verdict(best.operator).rank:
                best = refined
        except EosError:
            pass  # it acts in the vision tower, where nothing is searched: as it is
        best = self._walked(best, "guard-walk")
        if self.judge.verdict(best.operator).rank <= self.judge.verdict(result.operator).rank:
            return result, finder
        self.trail["guard"]["returned"] = name
        return best, name

    def _reported(self, result: SearchResult, finder: str, winner: str, looked: list[Candidate]) -> SearchResult:
        workload, config = self.workload, self.config
        met = meet(self.cost, result.operator, config.budget)
        operator = met.operator
        provenance = {**operator.provenance, "search": config.fields(), "start": finder, "portfolio": self.trail}
        if met.spent.name != COMPUTE:
            provenance["cost"] = met.spent.as_json()
        provenance.setdefault("model", workload.name)
        provenance.setdefault("task", workload.task)
        operator = operator.model_copy(update={"name": f"searched-{config.budget:g}", "provenance": provenance})
        remarks = remarks_on(operator, finder, winner, looked, self.judge, self.trail)
        accuracy = evaluate(workload, operator, "validation", config.eval_questions).accuracy
        return replace(
            result,
            operator=operator,
            accuracy=accuracy,
            compute_ratio=compute_ratio(operator, workload.shape, workload.text_tokens),
            mean_tokens=operator.mean_tokens,
            samples=self.samples,
            seconds=time.monotonic() - self.begun,
            history=self.history,
            cost=met.spent,
            trail=self.trail,
            remarks=(*remarks, *met.remarks, *result.remarks),
        )


__all__ = ["RESUME", "Structure", "find", "planned_steps"]
