"""One optimiser step of a search. On a GPU it is captured as a CUDA graph and replayed: launching its thousands of
small kernels one by one would take far longer than running them. Where making a batch waits for the device, as a
model's own body does, or where the kernels are large, steps run as they are.

A batch may go through the model in parts, and parts of it in several processes: gradients add up to the whole batch's.
A step that runs out of memory is done again with half as many questions at once; nothing has changed by then.

Legend: b batch, s sequence, q questions, a answer tokens, d width.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.costs.registry import COMPUTE
from eos_platform.models.relaxation.checkpointing import checkpointed
from eos_platform.models.relaxation.relaxed import relaxed
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import SearchCost, flops_cost
from eos_platform.search.objective import answer_loss, losses, total_loss
from eos_platform.search.parameters import Parameters, new_optimiser
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import EncodedQuestions
from eos_platform.tasks.together import Tell, free_memory, group, tried

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
        cost: SearchCost | None = None,
        tell: Tell | None = None,
        optimiser: torch.optim.Adam | None = None,
    ) -> None:
        """A stepper of a search.

        Args:
            cost: that the budget is about; default: the compute ratio.
            tell: is told, in a line, when memory runs out.
            optimiser: of ``parameters``, where it is there already.
        """
        self.workload, self.config, self.parameters, self.tell = workload, config, parameters, tell
        self.encoded = encoded
        self.teacher_qad = no_teacher(workload, encoded)  # until somebody has asked it
        self.compute = flops_cost(workload)
        self.cost = cost or self.compute
        other = self.cost.cost.name != COMPUTE
        self.curves = (*CURVES, SOFT_COST) if other else CURVES
        device = parameters.keep.device
        self.on_gpu = device.type == "cuda"
        self.captures = self.on_gpu and not encoded.synchronises
        self.optimiser = optimiser or new_optimiser(parameters, config)
        self.index_b = torch.zeros(min(config.batch_size, len(encoded)), dtype=torch.long, device=device)
        self.budget = torch.full((), config.budget, device=device)
        self.temperature = torch.ones((), device=device)
        self.multiplier = torch.zeros((), device=device)
        self.fixed_counts: Tensor | None = None
        self.measured = torch.zeros(len(self.curves), device=device)
        self.group = group()
        self.at_once = len(self.mine_b)  # questions that go through the model together
        self.checkpointing = False
        self.carried: bool | None = None  # see ``relaxed``
        self.weight: Tensor | None = None  # of the gradients, where other questions have theirs beside these
        self._graph: Any = None
        self._captured: tuple[bool, int, int, bool] | None = None

    @property
    def mine_b(self) -> Tensor:
        """This process' part of the batch, a run of it; without any where there are fewer questions than processes."""
        return self.index_b.tensor_split(self.group.size)[self.group.rank]

    def run(
        self, index_b: Tensor, *, budget: float, temperature: float, multiplier: float, rate: float, candidates: int
    ) -> dict[str, float]:
        """One step on the questions ``index_b``; the curves (``self.curves``) as they were before it."""
        self.index_b.copy_(index_b)
        self.budget.fill_(budget)
        self.temperature.fill_(temperature)
        self.multiplier.fill_(multiplier)
        for some in self.optimiser.param_groups:
            if isinstance(some["lr"], Tensor):
                some["lr"].fill_(rate)
            else:
                some["lr"] = rate
        hard = self.parameters.fixed is not None
        if hard and self.fixed_counts is None:
            self.fixed_counts = self.parameters.whole()
        while not self._fits(hard, candidates):
            self._shrink()
        return dict(zip(self.curves, self.measured.tolist(), strict=True))

    def _fits(self, hard: bool, candidates: int) -> bool:
        """Do the step; False: memory ran out, here or in another process, and nothing has changed."""
        done = tried(lambda: self._work(hard, candidates)) is not None
        if self.group.size > 1:
            done = self._add_up(done)
            if done:
                self._update()
        return done

    def _work(self, hard: bool, candidates: int) -> None:
        """This process' part; alone, that is all of the step."""
        if not self.captures:
            self._body(hard, candidates)
            return
        key = hard, candidates, self.at_once, self.checkpointing
        if self._captured != key:
            self._capture(hard, candidates)
            self._captured = key
        self._graph.replay()

    def _shrink(self) -> None:
        """Half as many questions at once; of a single one, only what each layer is handed is kept.

        Raises:
            EosError: that is so already.
        """
        self._graph = self._captured = None
        free_memory()
        had = self.at_once
        if had == 1 and self.checkpointing:
            raise EosError(
                "out of memory with one question at a time and activation checkpointing; a smaller model, fewer search"
                " questions or weights of fewer bits (--dtype) may fit"
            )
        if had == 1:
            self.checkpointing = True
        self.at_once = (had + 1) // 2
        if self.tell is not None:
            now = "activation checkpointing" if had == 1 else f"{self.at_once}"
            many = f"{had} questions" if had > 1 else "one question"
            self.tell(f"out of memory with {many} at once; the step is done again with {now}")

    def _capture(self, hard: bool, candidates: int) -> None:
        """Record the step; what the trial runs change is put back."""
        self._graph = self._captured = None  # its memory goes first
        state = [value for moments in self.optimiser.state.values() for value in moments.values()]
        changed = [*self.parameters.parameters(), *state]
        held = [value.detach().clone() for value in changed]
        try:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(2):
                    self._body(hard, candidates)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # other processes are watched from a thread of this one, which may ask the device meanwhile
            mode = "global" if self.group.size == 1 else "thread_local"
            with torch.cuda.graph(graph, capture_error_mode=mode):
                self._body(hard, candidates)
        finally:
            with torch.no_grad():
                for value, old in zip(changed, held, strict=True):
                    value.copy_(old)
        self._graph = graph

    def _body(self, hard: bool, candidates: int) -> None:
        self.gradient(hard, candidates)
        if self.group.size == 1:
            self._update()

    def gradient(self, hard: bool, candidates: int) -> None:
        """Gradients and curves of this process' part of the batch; over all processes they add up to the batch's."""
        self.optimiser.zero_grad(set_to_none=False)
        self.measured.zero_()
        self.add_gradient(hard, candidates, leads=self.group.first)

    def add_gradient(self, hard: bool, candidates: int, leads: bool) -> None:
        """Add them to what is there; ``leads``: what is asked once of a batch comes with these questions."""
        total = self.encoded.answer_q[self.index_b].sum().float()
        with checkpointed(self.workload.model) if self.checkpointing else nullcontext():
            for number, index_b in enumerate(self.mine_b.split(self.at_once)):
                self._part(index_b, total, hard, candidates, leads=leads and number == 0)

    def _part(self, index_b: Tensor, total: Tensor, hard: bool, candidates: int, leads: bool) -> None:
        """Add what some questions bring. ``leads``: the part that what is asked once of a batch goes with."""
        config, parameters, workload = self.config, self.parameters, self.workload
        batch = self.encoded.batch(index_b)
        counts = self.fixed_counts
        if counts is None:
            counts = parameters.counts(self.cost.scale, self.budget)
        sites = parameters.sites(counts)
        mask = _causal(batch.layout.valid_bs) if self.captures else None
        with relaxed(
            workload.adapter,
            sites,
            batch.layout,
            temperature=self.temperature,
            hard=hard,
            candidates=candidates,
            tokens=workload.target.tokens,
            carried=self.carried,
        ):
            state_bad = workload.adapter.states_at(batch.place_ba, batch.prefill, mask)
        parts = losses(workload.adapter, state_bad, self.teacher_qad[index_b.to(self.teacher_qad.device)], batch, total)
        if leads:
            spent = self.cost.relaxed(sites) if sites else torch.full_like(self.multiplier, self.cost.whole)
            loss = total_loss(parts, spent, self.multiplier, config)
            once = [spent]
            if SOFT_COST in self.curves:
                once.insert(0, self.compute.relaxed(sites) if sites else torch.ones_like(self.multiplier))
        else:
            loss = answer_loss(parts, config)
            once = [torch.zeros_like(loss)] * (len(self.curves) - len(parts) - 1)
        if sites:  # a budget of everything may leave none that act
            (loss if self.weight is None else self.weight * loss).backward()
        self.measured += torch.stack([loss, *parts.values(), *once]).detach()

    def _update(self) -> None:
        self._clip()
        self.optimiser.step()

    def _add_up(self, fits: bool) -> bool:
        """Sum gradients and curves over the processes; whether all of them had the memory."""
        values = [value.grad for value in self.parameters.parameters() if value.grad is not None]
        values.append(self.measured)
        lacking = torch.full((1,), 0.0 if fits else 1.0, device=self.measured.device)
        flat = self.group.sum_(torch.cat([*(value.flatten() for value in values), lacking]))
        if float(flat[-1]):
            return False
        for value, summed in zip(values, flat[:-1].split([value.numel() for value in values]), strict=True):
            value.copy_(summed.view_as(value))
        return True

    @torch.no_grad()
    def _clip(self) -> None:
        """Shorten a long gradient; one that overflowed must not spoil the parameters for good, and counts as zero."""
        gradients = [value.grad for value in self.parameters.parameters() if value.grad is not None]
        length = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
        scale = (CLIP / (length + 1e-6)).clamp_max(1.0)
        for gradient in gradients:
            gradient.copy_(torch.where(length.isfinite(), gradient * scale, 0.0))


def no_teacher(workload: Subject, encoded: EncodedQuestions) -> Tensor:
    """Zeros in place of the unreduced model's answer states (q, a, d), for steps that are only rehearsed."""
    zero = torch.zeros((), dtype=workload.model.dtype, device=workload.adapter.home)
    return zero.expand(len(encoded), encoded.answer_places, workload.shape.hidden)


def _causal(valid_bs: Tensor) -> Tensor:
    """The mask itself (b, 1, s, s): models handed one row a prompt look whether it is all ones, and wait for it."""
    length = valid_bs.shape[1]
    past_ss = torch.ones(length, length, dtype=torch.bool, device=valid_bs.device).tril()
    return (past_ss & valid_bs[:, None, :])[:, None]
