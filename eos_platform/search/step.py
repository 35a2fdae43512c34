"""One optimiser step of a search. On a GPU it is captured as a CUDA graph and replayed: launching its thousands of
small kernels one by one would take far longer than running them. Where making a batch waits for the device, as a
model's own body does, steps run as they are.

Legend: b batch, s sequence, q questions, a answer tokens, d width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eos_platform.costs.registry import COMPUTE
from eos_platform.models.relaxation.relaxed import relaxed
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import SearchCost, flops_cost
from eos_platform.search.objective import losses, total_loss
from eos_platform.search.parameters import Parameters
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import EncodedQuestions, answer_states

CLIP = 5.0  # of the gradient's length
CURVES = ("loss", "task_loss", "distill_loss", "align_loss", "soft_compute_ratio")
SOFT_COST = "soft_cost"  # where the budget is about another cost


class Stepper:
    """Runs steps on questions of its ``encoded``; what changes from step to step lives in tensors of its own."""

    def __init__(
        self,
        workload: Subject,
        config: SearchConfig,
        parameters: Parameters,
        encoded: EncodedQuestions,
        teacher_qad: Tensor,
        cost: SearchCost | None = None,
    ) -> None:
        """``cost``: that the budget is about; default: the compute ratio."""
        self.workload, self.config, self.parameters = workload, config, parameters
        self.encoded, self.teacher_qad = encoded, teacher_qad
        self.compute = flops_cost(workload)
        self.cost = cost or self.compute
        other = self.cost.cost.name != COMPUTE
        self.curves = (*CURVES, SOFT_COST) if other else CURVES
        device = parameters.keep.device
        self.on_gpu = device.type == "cuda"
        self.captures = self.on_gpu and not encoded.synchronises
        self.optimiser = new_optimiser(parameters, config)
        self.index_b = torch.zeros(min(config.batch_size, len(encoded)), dtype=torch.long, device=device)
        self.budget = torch.full((), config.budget, device=device)
        self.temperature = torch.ones((), device=device)
        self.multiplier = torch.zeros((), device=device)
        self.fixed_counts: Tensor | None = None
        self.measured: Tensor | None = None
        self._graph: Any = None
        self._captured: tuple[bool, int] | None = None

    def run(
        self, index_b: Tensor, *, budget: float, temperature: float, multiplier: float, rate: float, candidates: int
    ) -> dict[str, float]:
        """One step on the questions ``index_b``; the curves (``self.curves``) as they were before it."""
        self.index_b.copy_(index_b)
        self.budget.fill_(budget)
        self.temperature.fill_(temperature)
        self.multiplier.fill_(multiplier)
        for group in self.optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        hard = self.parameters.fixed is not None
        if hard and self.fixed_counts is None:
            self.fixed_counts = self.parameters.whole()
        if not self.captures:
            self._body(hard, candidates)
        else:
            if self._captured != (hard, candidates):
                self._capture(hard, candidates)
            self._graph.replay()
        assert self.measured is not None
        return dict(zip(self.curves, self.measured.tolist(), strict=True))

    def _capture(self, hard: bool, candidates: int) -> None:
        """Record the step; what the trial runs change is put back."""
        self._graph = None  # its memory goes first
        state = [value for moments in self.optimiser.state.values() for value in moments.values()]
        changed = [*self.parameters.parameters(), *state]
        held = [value.detach().clone() for value in changed]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                self._body(hard, candidates)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._body(hard, candidates)
        with torch.no_grad():
            for value, old in zip(changed, held, strict=True):
                value.copy_(old)
        self._graph, self._captured = graph, (hard, candidates)

    def _body(self, hard: bool, candidates: int) -> None:
        config, parameters, workload = self.config, self.parameters, self.workload
        batch = self.encoded.batch(self.index_b)
        counts = self.fixed_counts
        if counts is None:
            counts = self.cost.counts(parameters, self.budget)
        sites = parameters.sites(counts)
        mask = _causal(batch.layout.valid_bs) if self.captures else None
        soft, tokens = self.temperature, workload.target.tokens
        with relaxed(
            workload.model, sites, batch.layout, temperature=soft, hard=hard, candidates=candidates, tokens=tokens
        ):
            state_bad = answer_states(workload.model, batch, mask)
        parts = losses(workload.model, state_bad, self.teacher_qad[self.index_b], batch)
        spent = self.cost.relaxed(sites) if sites else torch.full_like(self.multiplier, self.cost.whole)
        loss = total_loss(parts, spent, self.multiplier, config)
        self.optimiser.zero_grad(set_to_none=False)
        if sites:  # a budget of everything may leave none that act
            loss.backward()
        self._clip()
        self.optimiser.step()
        curves = [loss, *parts.values(), spent]
        if SOFT_COST in self.curves:
            curves.insert(-1, self.compute.relaxed(sites) if sites else torch.ones_like(self.multiplier))
        self.measured = torch.stack(curves).detach()

    @torch.no_grad()
    def _clip(self) -> None:
        """Shorten a long gradient; one that overflowed must not spoil the parameters for good, and counts as zero."""
        gradients = [value.grad for value in self.parameters.parameters() if value.grad is not None]
        length = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
        scale = (CLIP / (length + 1e-6)).clamp_max(1.0)
        for gradient in gradients:
            gradient.copy_(torch.where(length.isfinite(), gradient * scale, 0.0))


def new_optimiser(parameters: Parameters, config: SearchConfig) -> torch.optim.Adam:
    """Adam with its moments in place already, so that they can be put back after a capture."""
    on_gpu = parameters.keep.device.type == "cuda"
    rate: Any = torch.tensor(config.learning_rate, device=parameters.keep.device) if on_gpu else config.learning_rate
    optimiser = torch.optim.Adam(parameters.parameters(), lr=rate, betas=(0.9, 0.95), capturable=on_gpu)
    for value in parameters.parameters():
        value.grad = torch.zeros_like(value)
        step = torch.zeros((), device=value.device) if on_gpu else torch.zeros(())
        optimiser.state[value] = {
            "step": step,
            "exp_avg": torch.zeros_like(value),
            "exp_avg_sq": torch.zeros_like(value),
        }
    return optimiser


def _causal(valid_bs: Tensor) -> Tensor:
    """The mask itself (b, 1, s, s): models handed one row a prompt look whether it is all ones, and wait for it."""
    length = valid_bs.shape[1]
    past_ss = torch.ones(length, length, dtype=torch.bool, device=valid_bs.device).tril()
    return (past_ss & valid_bs[:, None, :])[:, None]
