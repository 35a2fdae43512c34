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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eos_platform.errors import EosError
from eos_platform.models.attach import reducing
from eos_platform.models.compute import compute_ratio
from eos_platform.models.relaxed import relaxed
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.checkpoint import Progress, load_state, save_state
from eos_platform.search.config import SearchConfig
from eos_platform.search.discretise import feature_mask, to_operator, whole_counts
from eos_platform.search.objective import excess, losses, teacher_states
from eos_platform.search.parameters import Parameters
from eos_platform.search.start import check, counts_now, start_at_budget
from eos_platform.search.step import Stepper
from eos_platform.tasks.encode import answer_states, exact
from eos_platform.tasks.evaluate import evaluate
from eos_platform.tasks.workload import Workload

Report = Callable[[int, dict[str, float]], None]
REPORTS = 50  # step reports of a whole search, about
SAVES = 10  # checkpoints of a whole search, about
STEEPNESS = (1.0, 0.0, 0.35, 0.7, 1.4)
TRIED_ON = 1024  # questions that schedules and steps are compared on, deployed
COMPARED = 5  # of the last steps
RESTARTS = 3  # from the last good state, each at half the learning rate
CANDIDATES = (1.5, 48, 32)  # as many as 1.5 times the count and 48 more, in steps of 32: presence has faded out there
LOOK = 20  # steps between two looks at how many that is


@dataclass(frozen=True)
class SearchResult:
    """What a search found. Accuracies are on validation questions; only ``relaxed_accuracy`` is not deployed."""

    operator: OperatorSpec
    accuracy: float
    relaxed_accuracy: float
    compute_ratio: float
    mean_tokens: float
    samples: int  # questions seen, with repetition
    seconds: float
    history: list[dict[str, float]] = field(default_factory=list, repr=False)


class SearchDiverged(EosError):
    """The loss is no longer a number."""


def search(
    workload: Workload, config: SearchConfig, *, report: Report | None = None, checkpoint: Path | None = None
) -> SearchResult:
    """Search an operator for ``workload`` under ``config``.

    Args:
        report: called every few steps with the step and the curves; what it raises ends the search.
        checkpoint: a folder. The state is kept there; a search that finds one goes on from it, with the same result.

    Raises:
        EosError: a site beyond the last layer, a budget nothing reaches, a checkpoint of another search.
        SearchDiverged: the loss became NaN or infinite.
    """
    return _Search(workload, config, report, checkpoint).run()


class _Search:
    def __init__(self, workload: Workload, config: SearchConfig, report: Report | None, folder: Path | None) -> None:
        self.workload, self.config, self.report, self.folder = workload, config, report, folder
        self.subject = f"{workload.name} on {workload.task}"
        check(workload, config)
        torch.manual_seed(config.seed)
        self.parameters = Parameters(config, workload.target, workload.shape.hidden).to(workload.model.device)
        start_at_budget(self.parameters, workload, config)
        self.encoded = workload.encoded("search", config.search_questions)
        teacher_qad = teacher_states(workload.model, self.encoded, config.batch_size)
        self.stepper = Stepper(workload, config, self.parameters, self.encoded, teacher_qad)
        self.progress = Progress(multiplier=config.budget_weight)
        self.best: dict[str, Tensor] = {}  # of the straight-through steps compared, the parameters that deploy best
        if folder is not None:
            found = load_state(folder, config, self.subject, self.parameters, self.stepper.optimiser)
            if found is not None:
                self.progress, self.best = found
        self.soft_steps = config.steps - round(config.straight_through * config.steps)
        self.good: list[Tensor] = self.state()

    def run(self) -> SearchResult:
        config, progress, workload = self.config, self.progress, self.workload
        started = time.monotonic() - progress.seconds
        while progress.step < config.steps:
            self.step()
            progress.seconds = time.monotonic() - started
            self.tell()
            if self.due(SAVES):
                self.good = [value.detach().clone() for value in self.state()]
                self.save()
        self.settle()
        operator = self.operator()
        self.save()
        accuracy = evaluate(workload, operator, "validation", config.eval_questions).accuracy
        return SearchResult(
            operator=operator,
            accuracy=accuracy,
            relaxed_accuracy=self.relaxed_accuracy(),
            compute_ratio=compute_ratio(operator, workload.shape, workload.text_tokens),
            mean_tokens=operator.mean_tokens,
            samples=progress.samples,
            seconds=time.monotonic() - started,
            history=progress.history,
        )

    def step(self) -> None:
        """One optimiser step on a batch that depends on seed and step alone."""
        config, progress = self.config, self.progress
        if progress.step >= self.soft_steps and progress.fixed is None:
            self.parameters.mask.copy_(feature_mask(self.parameters))
            progress.fixed = self.parameters.fixed = self.best_counts()
        if progress.candidates == 0 or progress.step % LOOK == 0 or progress.step == self.soft_steps:
            progress.candidates = self.candidates()
        rng = np.random.default_rng([config.seed, progress.step])
        size = min(config.batch_size, len(self.encoded))
        chosen = torch.from_numpy(rng.choice(len(self.encoded), size, replace=False))
        hard = progress.fixed is not None
        self.curves = self.stepper.run(
            chosen,
            temperature=self.temperature(),
            multiplier=0.0 if hard else progress.multiplier,  # whole counts hit the budget already
            rate=self.rate(),
            candidates=progress.candidates,
        )
        progress.samples += size
        if not math.isfinite(self.curves["loss"]):
            self.restart()
        ratio = torch.tensor(self.curves["soft_compute_ratio"])
        progress.multiplier += config.budget_growth * float(excess(ratio, config.budget)) * (not hard)
        progress.step += 1
        self.curves |= {"multiplier": progress.multiplier, "temperature": self.temperature()}
        self.compare()

    def state(self) -> list[Tensor]:
        """Everything a step changes."""
        moments = [value for found in self.stepper.optimiser.state.values() for value in found.values()]
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
        self.curves["restarts"] = float(self.progress.restarts)

    def rate(self) -> float:
        """Warm-up over a few steps, then a cosine to a tenth."""
        done = self.progress.step / self.config.steps
        warm = min(1.0, (self.progress.step + 1) / 10)
        most = self.config.learning_rate * 0.5**self.progress.restarts
        return most * warm * (0.55 + 0.45 * math.cos(math.pi * done))

    def temperature(self) -> float:
        """Geometric from start to end over the soft stage."""
        done = min(1.0, self.progress.step / max(1, self.soft_steps - 1))
        return self.config.temperature_start * (self.config.temperature_end / self.config.temperature_start) ** done

    @torch.no_grad()
    def counts(self) -> Tensor:
        """Tokens left after each candidate site (sites,), soft until they are fixed."""
        if self.parameters.fixed is not None:
            return self.parameters.whole()
        return counts_now(self.parameters, self.workload, self.config)

    def candidates(self) -> int:
        """How many tokens the first site lets compete."""
        factor, more, step = CANDIDATES
        wanted = factor * float(self.counts().amax()) + more
        return min(self.workload.target.tokens, math.ceil(wanted / step) * step)

    def whole_counts(self, steepness: float = 1.0) -> tuple[int, ...]:
        """What the soft counts are when deployed."""
        parameters, workload = self.parameters, self.workload
        soft = counts_now(parameters, workload, self.config).detach()
        shape, text = workload.shape, workload.text_tokens
        return whole_counts(soft, parameters, self.config, workload.target, shape, text, steepness)

    def best_counts(self) -> tuple[int, ...]:
        """Of the searched schedule and steeper and flatter ones of the same cost, the one that deploys best.

        Soft tokens still carry something of what they drop, which flatters steep schedules at small budgets.
        """
        tried = dict.fromkeys(self.whole_counts(steepness) for steepness in STEEPNESS)
        if len(tried) == 1:
            return next(iter(tried))
        return min(tried, key=self.deployed_loss)

    def compare(self) -> None:
        """Now and then in the straight-through stage: keep the parameters that deploy best."""
        progress, last = self.progress, self.config.steps - self.soft_steps
        if progress.fixed is None or (progress.step - self.soft_steps) % max(1, last // COMPARED):
            return
        loss = self.deployed_loss(progress.fixed)
        if progress.best is None or loss < progress.best:
            progress.best = loss
            self.best = {name: value.detach().clone() for name, value in self.parameters.named_parameters()}

    @torch.no_grad()
    def settle(self) -> None:
        """Take the parameters that deployed best."""
        for name, value in self.parameters.named_parameters():
            if name in self.best:
                value.copy_(self.best[name])

    @torch.no_grad()
    def deployed_loss(self, counts: tuple[int, ...]) -> float:
        """Answers' loss of the operator with these counts, deployed, on some of the search's questions."""
        config, workload = self.config, self.workload
        operator = to_operator(self.parameters, counts, workload.target, "trial")
        total, answers = 0.0, 0.0
        for batch in self.encoded.batches(4 * config.batch_size):
            with reducing(workload.model, operator, batch.layout):
                state_bad = answer_states(workload.model, batch)
            weight = float(batch.wanted_ba.sum())
            parts = losses(workload.model, state_bad, self.stepper.teacher_qad[batch.index_b], batch)
            total += weight * float(
                config.task_weight * parts["task_loss"] + config.distill_weight * parts["distill_loss"]
            )
            answers += weight
            self.progress.samples += len(batch.index_b)
            if int(batch.index_b[-1]) + 1 >= TRIED_ON:
                break
        return total / answers

    def operator(self) -> OperatorSpec:
        """What would be deployed now."""
        counts = self.parameters.fixed or self.whole_counts()
        operator = to_operator(self.parameters, counts, self.workload.target, f"searched-{self.config.budget:g}")
        provenance = {
            "model": self.workload.name,
            "task": self.workload.task,
            "step": self.progress.step,
            "search": self.config.model_dump(mode="json"),
        }
        return operator.model_copy(update={"provenance": provenance})

    def save(self) -> None:
        """Write the state, where it is kept."""
        if self.folder is not None:
            save_state(
                self.folder,
                self.config,
                self.subject,
                self.parameters,
                self.stepper.optimiser,
                self.progress,
                self.best,
            )

    @torch.no_grad()
    def relaxed_accuracy(self) -> float:
        """Accuracy of the relaxed form at the end of annealing, only to be held against the deployed one."""
        config, model, parameters = self.config, self.workload.model, self.parameters
        sites = parameters.sites(self.counts())
        few, soft, found = self.candidates(), config.temperature_end, []
        for batch in self.workload.encoded("validation", config.eval_questions).batches(config.batch_size):
            with relaxed(model, sites, batch.layout, temperature=soft, hard=False, candidates=few):
                found.append(exact(model.lm_head(answer_states(model, batch)), batch))
        return float(torch.cat(found).float().mean())

    def due(self, times: int) -> bool:
        """Whether something done ``times`` times in a search is due after this step."""
        every = max(1, self.config.steps // times)
        return self.progress.step % every == 0 or self.progress.step == self.config.steps

    def tell(self) -> None:
        step, config = self.progress.step, self.config
        measured = bool(config.eval_every) and step % config.eval_every == 0
        if measured:
            operator = self.operator()
            found = evaluate(self.workload, operator, "validation", config.eval_questions)
            self.curves["accuracy"] = found.accuracy
            self.curves["compute_ratio"] = compute_ratio(operator, self.workload.shape, self.workload.text_tokens)
        if measured or self.due(REPORTS):
            self.progress.history.append({"step": step, **self.curves})
            if self.report is not None:
                self.report(step, self.curves)
