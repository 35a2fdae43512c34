"""What a search's parameters are once deployed: whole counts, the operator, and how well it answers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from eos_platform.models.relaxation.relaxed import relaxed
from eos_platform.models.runtime.attach import reducing
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.checkpoint import Progress
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import SearchCost, flops_cost
from eos_platform.search.discretise import to_operator, whole_counts
from eos_platform.search.objective import losses, on_gpu
from eos_platform.search.parameters import Parameters
from eos_platform.search.step import no_teacher
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import EncodedQuestions, answer_states, answered, at_once
from eos_platform.tasks.together import group, in_portions

STEEPNESS = (1.0, 0.0, 0.35, 0.7, 1.4)
TRIED_BATCHES, TRIED_LEAST, TRIED_MOST = 16, 128, 1024
COMPARED = 5  # of the last steps, evenly spaced, the very last among them
CANDIDATES = (1.5, 48, 32)  # as many as 1.5 times the count and 48 more, in steps of 32: presence has faded out there


def tried_on(config: SearchConfig) -> int:
    """Questions that schedules and steps are compared on."""
    return min(TRIED_MOST, max(TRIED_LEAST, TRIED_BATCHES * config.batch_size))


def most_samples(config: SearchConfig) -> int:
    """Questions a search runs through the model at most, with repetition: its steps', and those of deployed trials."""
    size = min(4 * config.batch_size, tried_on(config))
    trial = min(math.ceil(tried_on(config) / size) * size, config.search_questions)
    step = min(config.batch_size, config.search_questions)
    return config.steps * step + (len(STEEPNESS) + COMPARED) * trial


class Deployed:
    """The parameters of one search, seen as operators."""

    def __init__(
        self,
        workload: Subject,
        config: SearchConfig,
        parameters: Parameters,
        progress: Progress,
        encoded: EncodedQuestions,
        cost: SearchCost | None = None,
    ) -> None:
        """``progress``: where the questions asked here are counted; ``cost``: default: the compute ratio."""
        self.cost = cost or flops_cost(workload)
        self.workload, self.config, self.parameters, self.progress = workload, config, parameters, progress
        self.encoded = encoded
        self.teacher_qad = no_teacher(workload, encoded)  # until somebody has asked it
        self.tried_on = tried_on(config)

    @torch.no_grad()
    def counts(self, budget: float) -> Tensor:
        """Tokens left after each candidate site (sites,), soft until they are fixed; ``budget`` is what they meet."""
        if self.parameters.fixed is not None:
            return self.parameters.whole()
        return self.parameters.counts(self.cost.scale, budget)

    def candidates(self, budget: float) -> int:
        """How many tokens the first site lets compete."""
        if not self.parameters.layers:
            return self.workload.target.tokens
        factor, more, step = CANDIDATES
        wanted = factor * float(self.counts(budget).amax()) + more
        return min(self.parameters.arriving, math.ceil(wanted / step) * step)

    def whole_counts(self, steepness: float = 1.0) -> tuple[int, ...]:
        """What the soft counts are when deployed."""
        parameters, workload = self.parameters, self.workload
        soft = parameters.counts(self.cost.scale, self.config.budget).detach()
        shape, text = workload.shape, workload.text_tokens
        return whole_counts(soft, parameters, self.config, workload.target, shape, text, steepness, self.cost)

    def best_counts(self) -> tuple[int, ...]:
        """Of the searched schedule and steeper and flatter ones of the same cost, the one that deploys best.

        Soft tokens still carry something of what they drop, which flatters steep schedules at small budgets.
        """
        tried = dict.fromkeys(self.whole_counts(steepness) for steepness in STEEPNESS)
        if len(tried) == 1:
            return next(iter(tried))
        return min(tried, key=self.loss)

    @torch.no_grad()
    def loss(self, counts: tuple[int, ...]) -> float:
        """Answers' loss of the operator with these counts, deployed, on some of the search's questions."""
        config, workload = self.config, self.workload
        operator = to_operator(self.parameters, counts, workload.target, "trial")

        def work(index_b: Tensor) -> tuple[float, float]:
            batch = self.encoded.batch(index_b)
            with reducing(workload.model, operator, batch.layout):
                state_bad = answer_states(workload.model, batch)
            weight = float(batch.wanted_ba.sum())
            parts = losses(workload.adapter, state_bad, self.teacher_qad[batch.index_b], batch)
            lost = float(config.task_weight * parts["task_loss"] + config.distill_weight * parts["distill_loss"])
            return weight * lost, weight

        total, answers = 0.0, 0.0
        for _, (lost, weight) in in_portions(self.tried_portions(), work):
            total += lost
            answers += weight
        if group().size > 1:
            both = torch.tensor([total, answers], dtype=torch.float64)
            total, answers = group().sum_(both.to(sites_device(self.parameters))).tolist()
        return total / answers

    def tried_portions(self) -> list[Tensor]:
        """Numbers of the questions that operators are compared on; they count as run."""
        size = min(4 * self.config.batch_size, self.tried_on)
        if on_gpu(self.workload.model):
            size = min(size, at_once(self.workload.model))
        portions, tried = [], 0
        for index_b in self.encoded.portions(size):
            portions.append(index_b)
            tried += len(index_b)
            if tried >= self.tried_on:
                break
        self.progress.samples += tried
        return portions

    def operator(self) -> OperatorSpec:
        """What would be deployed now."""
        counts = self.parameters.fixed or self.whole_counts()
        operator = to_operator(self.parameters, counts, self.workload.target, f"searched-{self.config.budget:g}")
        provenance = {
            "model": self.workload.name,
            "task": self.workload.task,
            "step": self.progress.step,
            "search": self.config.fields(),
        }
        return operator.model_copy(update={"provenance": provenance})

    @torch.no_grad()
    def relaxed_accuracy(self) -> float:
        """Accuracy of the relaxed form at the end of annealing, only to be held against the deployed one."""
        config, model = self.config, self.workload.model
        sites = self.parameters.sites(self.counts(config.budget))
        few, soft, right = self.candidates(config.budget), config.temperature_end, 0.0
        tokens = self.workload.target.tokens
        encoded = self.workload.encoded("validation", config.eval_questions)

        def work(index_b: Tensor) -> float:
            batch = encoded.batch(index_b)
            with relaxed(model, sites, batch.layout, temperature=soft, hard=False, candidates=few, tokens=tokens):
                return float(answered(model, batch).sum())

        size = min(config.batch_size, at_once(model)) if on_gpu(model) else config.batch_size
        for _, found in in_portions(list(encoded.portions(size)), work):
            right += found
        if group().size > 1:
            right = float(group().sum_(torch.tensor(right, dtype=torch.float64, device=sites_device(self.parameters))))
        return right / len(encoded)


def sites_device(parameters: Parameters) -> torch.device:
    """Where the parameters of a search are."""
    return parameters.keep.device
