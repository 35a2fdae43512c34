"""One differentiable search: from a frozen model and a budget to an operator that is deployed and measured.

    result = search(load_workload("bundled-small"), SearchConfig(budget=0.3))
    result.operator.save("operator.json")

Two stages. Soft: every candidate site has a soft count; the selection's temperature falls from start to end, so that
what is searched comes ever closer to what will be deployed; a multiplier on the budget's excess rises while it is
violated. Then counts are made whole, as large as the budget allows, and the last steps run the deployed selection
forward with the soft one's gradient (straight-through), so that the other parameters settle on the operator that is
written down. Accuracy is measured with tokens really removed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from eos_platform.errors import EosError
from eos_platform.models.attach import reducing
from eos_platform.models.compute import compute_ratio
from eos_platform.models.relaxed import relaxed
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.checkpoint import Progress, load_state, save_state
from eos_platform.search.config import SearchConfig
from eos_platform.search.discretise import feature_mask, to_operator, whole_counts
from eos_platform.search.objective import excess, losses, teacher_states, total_loss
from eos_platform.search.parameters import Parameters
from eos_platform.search.start import check, soft_ratio, start_at_budget
from eos_platform.tasks.encode import answer_states, exact
from eos_platform.tasks.evaluate import evaluate
from eos_platform.tasks.workload import Workload

Report = Callable[[int, dict[str, float]], None]
REPORTS = 50  # step reports of a whole search, about
STEEPNESS = (1.0, 0.0, 0.35, 0.7, 1.4)
TRIED_ON = 512  # questions that schedules are compared on
SAVES = 10  # checkpoints of a whole search, about


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
        device = workload.model.device
        self.parameters = Parameters(config, workload.target).to(device)
        start_at_budget(self.parameters, workload, config)
        self.optimiser = torch.optim.Adam(self.parameters.parameters(), lr=config.learning_rate, betas=(0.9, 0.95))
        self.progress = Progress(multiplier=config.budget_weight)
        if folder is not None:
            found = load_state(folder, config, self.subject, self.parameters, self.optimiser)
            self.progress = found or self.progress
        self.soft_steps = config.steps - round(config.straight_through * config.steps)

    def run(self) -> SearchResult:
        config, progress, workload = self.config, self.progress, self.workload
        started = time.monotonic() - progress.seconds
        if progress.step < config.steps:
            self.encoded = workload.encoded("search", config.search_questions)
            self.teacher_qad = teacher_states(workload.model, self.encoded, config.batch_size)
        while progress.step < config.steps:
            self.step()
            progress.seconds = time.monotonic() - started
            self.tell()
            if self.folder is not None and self.due(SAVES):
                save_state(self.folder, config, self.subject, self.parameters, self.optimiser, progress)
        operator = self.operator()
        if self.folder is not None:
            save_state(self.folder, config, self.subject, self.parameters, self.optimiser, progress)
        accuracy = evaluate(workload, operator, "validation", config.eval_questions).accuracy
        return SearchResult(
            operator=operator,
            accuracy=accuracy,
            relaxed_accuracy=relaxed_accuracy(workload, self.parameters, config),
            compute_ratio=compute_ratio(operator, workload.shape, workload.text_tokens),
            mean_tokens=operator.mean_tokens,
            samples=progress.step * config.batch_size,
            seconds=time.monotonic() - started,
            history=progress.history,
        )

    def step(self) -> None:
        """One optimiser step on a batch that depends on seed and step alone."""
        config, progress, workload = self.config, self.progress, self.workload
        if progress.step >= self.soft_steps and progress.fixed is None:
            self.parameters.mask = feature_mask(self.parameters)
            progress.fixed = self.parameters.fixed = self.best_counts()
        rng = np.random.default_rng([config.seed, progress.step])
        chosen = torch.from_numpy(
            rng.choice(len(self.encoded), min(config.batch_size, len(self.encoded)), replace=False)
        )
        batch = self.encoded.batch(chosen.to(self.teacher_qad.device))
        counts = self.parameters.counts()
        sites = self.parameters.sites(counts)
        hard = progress.fixed is not None
        with relaxed(workload.model, sites, batch.layout, temperature=self.temperature(), hard=hard):
            state_bad = answer_states(workload.model, batch)
        parts = losses(workload.model, state_bad, self.teacher_qad[batch.index_b], batch)
        ratio = soft_ratio(sites, workload)
        multiplier = 0.0 if hard else progress.multiplier  # whole counts hit the budget already
        loss = total_loss(parts, ratio, multiplier, config)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise SearchDiverged(f"the loss became {value} at step {progress.step}; lower the learning rate")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if hard:  # counts are settled
            self.parameters.gate.grad = self.parameters.keep.grad = None
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.parameters(), 5.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        if bool(norm.isfinite()):  # one overflow must not spoil the parameters for good
            self.optimiser.step()
        progress.multiplier += config.budget_growth * float(excess(ratio.detach(), config.budget)) * (not hard)
        progress.step += 1
        self.curves = {
            "loss": value,
            **{name: float(part.detach()) for name, part in parts.items()},
            "soft_compute_ratio": float(ratio.detach()),
            "multiplier": progress.multiplier,
            "temperature": self.temperature(),
        }

    def rate(self) -> float:
        """Warm-up over a few steps, then a cosine to a tenth."""
        done = self.progress.step / self.config.steps
        return (
            self.config.learning_rate
            * min(1.0, (self.progress.step + 1) / 10)
            * (0.55 + 0.45 * math.cos(math.pi * done))
        )

    def temperature(self) -> float:
        """Geometric from start to end over the soft stage."""
        done = min(1.0, self.progress.step / max(1, self.soft_steps - 1))
        return self.config.temperature_start * (self.config.temperature_end / self.config.temperature_start) ** done

    def whole_counts(self, steepness: float = 1.0) -> tuple[int, ...]:
        parameters, workload = self.parameters, self.workload
        return whole_counts(parameters, self.config, workload.target, workload.shape, workload.text_tokens, steepness)

    def best_counts(self) -> tuple[int, ...]:
        """Of the searched schedule and steeper and flatter ones of the same cost, the one that deploys best.

        Soft tokens still carry something of what they drop, which flatters steep schedules at small budgets.
        """
        tried = dict.fromkeys(self.whole_counts(steepness) for steepness in STEEPNESS)
        if len(tried) == 1:
            return next(iter(tried))
        return min(tried, key=self.deployed_loss)

    @torch.no_grad()
    def deployed_loss(self, counts: tuple[int, ...]) -> float:
        """Answers' loss of the operator with these counts, deployed, on some of the search's questions."""
        config, workload = self.config, self.workload
        operator = to_operator(self.parameters, counts, workload.target, "trial")
        total, answers = 0.0, 0.0
        for batch in self.encoded.batches(config.batch_size):
            with reducing(workload.model, operator, batch.layout):
                state_bad = answer_states(workload.model, batch)
            weight = float(batch.wanted_ba.sum())
            parts = losses(workload.model, state_bad, self.teacher_qad[batch.index_b], batch)
            total += weight * float(
                config.task_weight * parts["task_loss"] + config.distill_weight * parts["distill_loss"]
            )
            answers += weight
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


@torch.no_grad()
def relaxed_accuracy(workload: Workload, parameters: Parameters, config: SearchConfig) -> float:
    """Accuracy of the relaxed form at the end of annealing, only to be held against the deployed one."""
    encoded = workload.encoded("validation", config.eval_questions)
    sites, model = parameters.sites(parameters.counts()), workload.model
    found = []
    for batch in encoded.batches(config.batch_size):
        with relaxed(model, sites, batch.layout, temperature=config.temperature_end, hard=parameters.fixed is not None):
            found.append(exact(model.lm_head(answer_states(model, batch)), batch))
    return float(torch.cat(found).float().mean())
