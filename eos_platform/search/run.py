"""One differentiable search: from a frozen model and a budget to an operator that is deployed and measured.

    result = search(load_workload("bundled-small"), SearchConfig(budget=0.3))
    result.operator.save("operator.json")

Two stages. Soft: every candidate site has a soft count, the first one's being whatever meets the budget; the
selection's temperature falls from start to end, so that what is searched comes ever closer to what will be deployed.
Then counts are made whole, and the last steps run the deployed selection forward with the soft one's gradient
(straight-through), so that the other parameters settle on the operator that is written down; of these steps, the one
that deploys best is taken. Accuracy is measured with tokens really removed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eos_platform.costs.device.known import doubts
from eos_platform.costs.device.predictor import Predictor
from eos_platform.costs.fit import Fit
from eos_platform.costs.flops import compute_ratio
from eos_platform.costs.registry import COMPUTE
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.checkpoint import Progress, kept_fit, load_state, save_state
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import SearchCost, search_cost
from eos_platform.search.deployed import COMPARED, Deployed
from eos_platform.search.discretise import feature_mask
from eos_platform.search.meeting import meet
from eos_platform.search.objective import excess, teacher_states
from eos_platform.search.parameters import Parameters, Structure
from eos_platform.search.result import SearchDiverged, SearchResult
from eos_platform.search.scale.fitting import Estimate, prepare
from eos_platform.search.scale.interrupts import Interrupts
from eos_platform.search.scale.pace import LOOK, Clock
from eos_platform.search.scale.resources import Resources
from eos_platform.search.schedule import Schedule
from eos_platform.search.start import check, load_parameters, start_at_budget
from eos_platform.search.starts.structure import structure_of
from eos_platform.search.step import SOFT_COST, Stepper
from eos_platform.tasks.base import Subject
from eos_platform.tasks.evaluate import Evaluation, evaluate
from eos_platform.tasks.together import Tell, group

__all__ = ["Measure", "Report", "SearchDiverged", "SearchResult", "estimate", "search"]

Report = Callable[[int, dict[str, float]], None]
Measure = Callable[[OperatorSpec, Evaluation], Mapping[str, float]]
ALL = Resources()  # there is, in one process
REPORTS = 50  # step reports of a whole search, about
SAVES = 10  # checkpoints of a whole search, about
RESTARTS = 3  # from the last good state, each at half the learning rate
APART = 0.01  # relaxed and deployed accuracy, before a person is told


def search(
    workload: Subject,
    config: SearchConfig,
    *,
    report: Report | None = None,
    checkpoint: Path | None = None,
    start: Mapping[str, Tensor] | None = None,
    measure: Measure | None = None,
    cost: SearchCost | None = None,
    structure: Structure | None = None,
    judge: Callable[[OperatorSpec], float] | None = None,
    measured: bool = True,
    meets: bool = True,
    resources: Resources | None = None,
    tell: Tell | None = None,
) -> SearchResult:
    """Search an operator for ``workload`` under ``config``, from the one start that it names.

    Args:
        report: called every few steps with the step and the curves; what it raises ends the search.
        checkpoint: a folder. The state is kept there; a search that finds one goes on from it, with the same result.
        cost: that the budget is about, from an earlier ``check`` of the same workload; default: found here.
        start: ``parameters`` of a search of the same sites and model, at another budget say; default: from scratch.
        structure: where to begin, instead of at what ``config.start`` names.
        judge: the loss by which the last steps are compared; default: that of some of the search's questions.
        measured: whether the result's accuracies are; else they are nan.
        meets: whether counts are scaled at the end until a measured cost meets the budget (``search.meeting``).
        measure: what else to report of an operator deployed on the way, by name; default: accuracy and compute alone.
        resources: what it may take of the machine; default: all there is, in one process.
        tell: is told in lines what it will take, how it is made to fit, and when memory runs out on the way.

    Raises:
        EosError: a site beyond the last layer, a budget nothing reaches, a checkpoint of another search, too little
            memory for a single question.
        SearchDiverged: the loss became NaN or infinite.
    """
    resources = resources or ALL
    resources.limit(workload.model)
    return Searching(
        workload,
        config,
        report,
        checkpoint,
        start or {},
        measure,
        cost,
        structure,
        judge,
        measured,
        resources,
        tell,
        meets,
    ).run()


def estimate(
    workload: Subject, config: SearchConfig, resources: Resources | None = None, checkpoint: Path | None = None
) -> Estimate | None:
    """What ``search`` would take, and how it would be made to fit; None: the search in ``checkpoint`` has ended.

    Raises:
        EosError: as ``search``.
    """
    resources = resources or ALL
    resources.limit(workload.model)
    return Searching(workload, config, None, checkpoint, {}, resources=resources, tell=lambda line: None).estimate


class Searching:
    """A search that can be run once."""

    def __init__(
        self,
        workload: Subject,
        config: SearchConfig,
        report: Report | None,
        folder: Path | None,
        start: Mapping[str, Tensor],
        measure: Measure | None = None,
        cost: SearchCost | None = None,
        structure: Structure | None = None,
        judge: Callable[[OperatorSpec], float] | None = None,
        measured: bool = True,
        resources: Resources = ALL,
        tell: Tell | None = None,
        meets: bool = True,
    ) -> None:
        self.measure, self.judge, self.measured, self.group = measure, judge, measured, group()
        self.meets = meets
        self.workload, self.config, self.report, self.folder = workload, config, report, folder
        # an interrupted search goes on with the fit it began with: measuring again would give another
        fitted: Fit | Predictor | None = kept_fit(folder) if folder is not None else None
        cost = search_cost(workload, config, fitted) if fitted else cost
        if self.group.size > 1:  # a cost that is measured is so once
            cost = cost or (search_cost(workload, config) if self.group.first else None)
            fitted = self.group.of_first(cost.fitted if cost else None)
            cost = cost or search_cost(workload, config, fitted)
        self.cost = check(workload, config, cost)
        torch.manual_seed(config.seed)
        structure = structure or structure_of(workload, config, self.cost)
        width = workload.shape.hidden
        self.parameters = Parameters(config, workload.target, width, self.features(), structure)
        self.parameters.to(workload.adapter.home)
        load_parameters(self.parameters, start)
        start_at_budget(self.parameters, workload, config, self.cost)
        self.encoded = workload.encoded("search", config.search_questions)
        self.prepare(structure)
        self.parameters.ask(self.mean_question)
        self.stepper = self.new_stepper(tell)
        self.progress = Progress(multiplier=config.budget_weight)
        self.best: dict[str, Tensor] = {}  # of the straight-through steps compared, the parameters that deploy best
        if folder is not None:
            saved = load_state(folder, config, self.subject, self.parameters, self.stepper.optimiser)
            if saved is not None:
                self.progress, self.best = saved
        self.deployed = self.new_deployed()
        self.schedule = Schedule(config, self.cost.whole)
        self.estimate: Estimate | None = None
        if self.progress.step < config.steps:
            self.estimate = prepare(self.stepper, self.deployed, self.schedule, resources, tell)
        said = self.estimate.steps if self.estimate else (1.0,) * config.steps
        self.clock = Clock(said, tell) if tell is not None else None
        self.soft_steps = self.schedule.soft_steps
        self.good = [value.detach().clone() for value in self.state()]

    def run(self) -> SearchResult:
        """All steps that are left, and what came of it."""
        config, progress, workload = self.config, self.progress, self.workload
        self.ask_teacher()
        started = time.monotonic() - progress.seconds
        with Interrupts(self.folder is not None or self.group.size > 1) as interrupts:
            while progress.step < config.steps:
                self.step()
                progress.seconds = time.monotonic() - started
                if self.clock is not None:
                    self.clock.tick(time.monotonic(), progress.step)
                self.log()
                if self.is_interval(SAVES):
                    self.good = [value.detach().clone() for value in self.state()]
                    self.save()
                if interrupts.asked(self.group):
                    self.save()
                    raise KeyboardInterrupt
        self.restore_best()
        operator = self.deployed.operator()
        met = meet(self.cost, operator, config.budget, progress.scale) if self.meets else None
        spent = met.spent if met else self.cost.spent(operator, config.budget)
        if met and spent.source == "measured":
            operator, progress.scale = met.operator, met.scale
        self.save()
        if spent.name != COMPUTE:  # which follows from the operator
            operator = operator.model_copy(update={"provenance": {**operator.provenance, "cost": spent.as_json()}})
        accuracy = relaxed_accuracy = math.nan
        if self.measured:
            accuracy = self.evaluation(operator).accuracy
            relaxed_accuracy = self.deployed.relaxed_accuracy()
        remarks = met.remarks if met else ()
        if abs(relaxed_accuracy - accuracy) > APART:
            remarks = (
                *remarks,
                f"warning: relaxed {relaxed_accuracy:.1%}, deployed {accuracy:.1%}: what was searched is not what is"
                " deployed; more steps, or a lower temperature_end, bring them together",
            )
        if isinstance(self.cost.fitted, Predictor):
            remarks = (*doubts(self.cost.context), *remarks)
        return SearchResult(
            remarks=remarks,
            operator=operator,
            accuracy=accuracy,
            relaxed_accuracy=relaxed_accuracy,
            compute_ratio=compute_ratio(operator, workload.shape, workload.text_tokens),
            mean_tokens=operator.mean_tokens,
            samples=progress.samples,
            seconds=time.monotonic() - started,
            history=progress.history,
            cost=spent,
            parameters={name: value.detach().clone() for name, value in self.parameters.named_parameters()},
            estimate=self.estimate,
        )

    @property
    def subject(self) -> str:
        """What is searched, as its saved state names it."""
        return f"{self.workload.name} on {self.workload.task}"

    def features(self) -> tuple[str, ...]:
        """What tokens may be weighed by."""
        return self.workload.features

    def mean_question(self) -> Tensor:
        """What all questions have in common (d,)."""
        return self.encoded.mean_question()

    def new_stepper(self, tell: Tell | None) -> Stepper:
        """What takes the steps."""
        return Stepper(self.workload, self.config, self.parameters, self.encoded, self.cost, tell)

    def new_deployed(self) -> Deployed:
        """The parameters as operators."""
        return Deployed(self.workload, self.config, self.parameters, self.progress, self.encoded, self.cost)

    def ask_teacher(self) -> None:
        """Have the unreduced model answer."""
        teacher_qad = teacher_states(self.workload.model, self.encoded)
        self.stepper.teacher_qad = self.deployed.teacher_qad = teacher_qad

    def evaluation(self, operator: OperatorSpec) -> Evaluation:
        """Of validation questions, deployed."""
        return evaluate(self.workload, operator, "validation", self.config.eval_questions)

    def draw(self, rng: np.random.Generator) -> Tensor:
        """Numbers of the questions of a batch."""
        return torch.from_numpy(self.encoded.draw(rng, min(self.config.batch_size, len(self.encoded))))

    def prepare(self, structure: Structure) -> None:
        """Have the vision tower say what the sites of a design read there."""
        if structure.head:
            needs = OperatorSpec(target=self.workload.target, sites=structure.head)
            self.encoded = self.encoded.encoded_with(needs)

    def step(self) -> None:
        """One optimiser step on a batch that depends on seed and step alone."""
        config, progress = self.config, self.progress
        budget, temperature = self.schedule.budget(progress.step), self.schedule.temperature(progress.step)
        if progress.step >= self.soft_steps and progress.fixed is None:
            self.parameters.mask.copy_(feature_mask(self.parameters))
            progress.fixed = self.parameters.fixed = self.deployed.best_counts()
        if progress.candidates == 0 or progress.step % LOOK == 0 or progress.step == self.soft_steps:
            progress.candidates = self.deployed.candidates(budget)  # falling: enough until the next look
        rng = np.random.default_rng([config.seed, progress.step])
        chosen = self.draw(rng)
        hard = progress.fixed is not None
        self.curves = self.stepper.run(
            chosen,
            budget=budget,
            temperature=temperature,
            multiplier=0.0 if hard else progress.multiplier,  # whole counts hit the budget already
            rate=self.rate(),
            candidates=progress.candidates,
        )
        progress.samples += len(chosen)
        if not math.isfinite(self.curves["loss"]):
            self.restart()
        elif not hard:
            ratio = torch.tensor(self.curves.get(SOFT_COST, self.curves["soft_compute_ratio"]))
            progress.multiplier += config.budget_growth * float(excess(ratio, budget))
        progress.step += 1
        self.curves |= {"multiplier": progress.multiplier, "temperature": self.schedule.temperature(progress.step)}
        self.compare()

    def rate(self) -> float:
        """Half of what it would be for each restart."""
        return self.schedule.rate(self.progress.step) * 0.5**self.progress.restarts

    def state(self) -> list[Tensor]:
        """Everything a step changes."""
        moments = [value for result in self.stepper.optimiser.state.values() for value in result.values()]
        return [*self.parameters.parameters(), *moments]

    @torch.no_grad()
    def restart(self) -> None:
        """Go back to the last good state and on at half the learning rate."""
        self.progress.restarts += 1
        if self.progress.restarts > RESTARTS:
            raise SearchDiverged(
                f"the loss became {self.curves['loss']} at step {self.progress.step}, after {RESTARTS} restarts at half"
                " the learning rate each; lower learning_rate"
            )
        for value, good in zip(self.state(), self.good, strict=True):
            value.copy_(good)
        self.curves = {name: value for name, value in self.curves.items() if math.isfinite(value)}
        self.curves["restarts"] = float(self.progress.restarts)

    def compare(self) -> None:
        """Now and then in the straight-through stage: keep the parameters that deploy best."""
        progress, last = self.progress, self.config.steps - self.soft_steps
        done = progress.step - self.soft_steps
        if progress.fixed is None or done * COMPARED // last == (done - 1) * COMPARED // last:
            return
        loss = self.judge(self.deployed.operator()) if self.judge else self.deployed.loss(progress.fixed)
        if math.isfinite(loss) and (progress.best is None or loss < progress.best):
            progress.best = loss
            self.best = {name: value.detach().clone() for name, value in self.parameters.named_parameters()}

    @torch.no_grad()
    def restore_best(self) -> None:
        """Take the parameters that deployed best."""
        for name, value in self.parameters.named_parameters():
            if name in self.best:
                value.copy_(self.best[name])

    def save(self) -> None:
        """Write the state, where it is kept."""
        if self.folder is not None and self.group.first:
            save_state(
                self.folder,
                self.config,
                self.subject,
                self.parameters,
                self.stepper.optimiser,
                self.progress,
                self.best,
                self.cost.fitted,
            )

    def is_interval(self, times: int) -> bool:
        """Whether something done ``times`` times in a search is due after this step."""
        every = max(1, self.config.steps // times)
        return self.progress.step % every == 0 or self.progress.step == self.config.steps

    def log(self) -> None:
        step, config = self.progress.step, self.config
        measured = bool(config.eval_every) and step % config.eval_every == 0
        if measured:
            operator = self.deployed.operator()
            evaluation = self.evaluation(operator)
            self.curves["accuracy"] = evaluation.accuracy
            self.curves["compute_ratio"] = compute_ratio(operator, self.workload.shape, self.workload.text_tokens)
            if config.cost != COMPUTE:
                self.curves[config.cost] = self.cost.deployed(operator)
            if self.measure is not None:
                self.curves |= self.measure(operator, evaluation)
        if measured or self.is_interval(REPORTS):
            self.progress.history.append({"step": step, **self.curves})
            if self.report is not None:
                self.report(step, self.curves)
