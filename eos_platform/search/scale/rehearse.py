"""What a step takes, measured on a few questions before a search begins: bytes and seconds.

Memory is a straight line in the questions at once: what two small sizes take tells what any takes.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from eos_platform.costs.shapes import DecoderShape
from eos_platform.search.scale.resources import gpus_of
from eos_platform.search.step import Stepper
from eos_platform.tasks.batch import answer_states
from eos_platform.tasks.together import ALONE, tried

FEW = (1, 3)  # questions that the line is drawn through


@dataclass(frozen=True)
class Line:
    """Peak bytes of a step on one device: ``fixed`` and ``each`` for every question at once."""

    fixed: float
    each: float

    def bytes(self, questions: int) -> float:
        """At so many questions at once."""
        return self.fixed + self.each * questions

    def questions(self, room: float) -> int:
        """The most at once that fit; 0: none does."""
        return max(0, int((room - self.fixed) / max(self.each, 1.0)))

    @classmethod
    def through(cls, one: tuple[int, float], two: tuple[int, float]) -> Line:
        """The line of two sizes and their peaks."""
        each = max(0.0, (two[1] - one[1]) / (two[0] - one[0]))
        return cls(max(0.0, one[1] - each * one[0]), each)


def layer_bytes(shape: DecoderShape, element: int) -> int:
    """What one decoder layer with frozen weights keeps of a token for the backward pass, from its sizes.

    Both norms keep their input in float32, attention its queries, keys, values and output, the feed-forward layer the
    gate, the gate's activation and what that multiplies. Weights get no gradient, so that inputs of products are not
    kept.

    Args:
        shape: of the decoder.
        element: bytes of a number.
    """
    heads, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return 2 * 4 * shape.hidden + element * (2 * heads + 2 * keys + 3 * shape.intermediate)


class _Live(TorchDispatchMode):
    """Bytes of the tensors made while it is on, as many as live at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        given = {one.untyped_storage()._cdata for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
        for one in tree_leaves(found):
            if isinstance(one, Tensor):
                storage = one.untyped_storage()
                key = storage._cdata
                if key not in self._known and key not in given:
                    self._known.add(key)
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._gone, key, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return found

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def peaks(work: Callable[[], Any], model: Any) -> list[float]:
    """The most bytes that ``work`` holds at once beside what was there before, on each GPU; without one, the host's."""
    devices = gpus_of(model)
    if not devices:
        with _Live() as live:
            work()
        return [float(live.peak)]
    before = []
    for device in devices:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before.append(torch.cuda.memory_allocated(device))
    work()
    synchronise(model)
    return [float(torch.cuda.max_memory_allocated(one) - had) for one, had in zip(devices, before, strict=True)]


def synchronise(model: Any) -> None:
    """Wait for every GPU that the model is on."""
    for device in gpus_of(model):
        torch.cuda.synchronize(device)


class Rehearsal:
    """Steps of one search that are not taken.

    Args:
        stepper: of the search.
        candidates: as at its first step.
        budget, temperature: likewise.
    """

    def __init__(self, stepper: Stepper, candidates: int, budget: float, temperature: float) -> None:
        self.stepper, self.candidates = stepper, candidates
        stepper.budget.fill_(budget)
        stepper.temperature.fill_(temperature)
        self.model = stepper.workload.model

    def gradient(self, questions: int, checkpointing: bool) -> None:
        """The gradient of a batch of so many of the largest questions, all at once."""
        stepper = self.stepper
        held = stepper.index_b, stepper.at_once, stepper.checkpointing, stepper.group, stepper.captures
        stepper.index_b = stepper.encoded.heaviest(questions).to(stepper.index_b.device)
        stepper.at_once, stepper.checkpointing, stepper.group, stepper.captures = questions, checkpointing, ALONE, False
        try:
            stepper.gradient(False, self.candidates)
        finally:
            stepper.index_b, stepper.at_once, stepper.checkpointing, stepper.group, stepper.captures = held

    def lines(self, checkpointing: bool) -> list[Line]:
        """Of the memory that a step takes, one for each GPU."""
        self.gradient(1, checkpointing)  # what is made once is there afterwards
        one, two = (peaks(lambda few=few: self.gradient(few, checkpointing), self.model) for few in FEW)  # type: ignore[misc]
        return [Line.through((FEW[0], a), (FEW[1], b)) for a, b in zip(one, two, strict=True)]

    def seconds(self, questions: int, checkpointing: bool, times: int = 2) -> float:
        """Of the gradient of so many questions at once: the least of a few tries."""
        return timed(lambda: self.gradient(questions, checkpointing), self.model, times)

    @torch.no_grad()
    def asking(self, questions: int) -> tuple[float, list[float]]:
        """Seconds of asking the unreduced model so many questions at once, and the most bytes on each GPU.

        Where they do not fit, as a search does: fewer.
        """
        while True:
            index_b = self.stepper.encoded.heaviest(questions)
            found = tried(lambda index_b=index_b: self._ask(index_b))  # type: ignore[misc]
            if found is not None or questions == 1:
                break
            questions = (questions + 1) // 2
        if found is None:
            return 0.0, [0.0]
        return found[0][0] / questions, found[0][1]

    def _ask(self, index_b: Tensor) -> tuple[float, list[float]]:
        ask = lambda: answer_states(self.model, self.stepper.encoded.batch(index_b))  # noqa: E731
        held = peaks(ask, self.model)
        return timed(ask, self.model, 1), held


def timed(work: Callable[[], Any], model: Any, times: int) -> float:
    """Seconds of the fastest of a few runs."""
    found = []
    for _ in range(times):
        synchronise(model)
        start = time.perf_counter()
        work()
        synchronise(model)
        found.append(time.perf_counter() - start)
    return min(found)
