"""Before a search begins: what it will take, and how it is made to fit the memory there is.

A batch that fits easily is left whole. Otherwise a few steps are rehearsed; the batch then goes through the model in
the largest equal parts that fit, though no larger than keep the device busy, and decoder layers are checkpointed only
where parts would else be too small for that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from eos_platform.common.errors import EosError
from eos_platform.common.sizes import shown_bytes, shown_seconds
from eos_platform.costs.flops import layer_flops
from eos_platform.search.deployed import COMPARED, STEEPNESS, Deployed, tried_on
from eos_platform.search.scale.pace import Pace, competing
from eos_platform.search.scale.rehearse import Line, Rehearsal, layer_bytes
from eos_platform.search.scale.resources import Resources, gpus_of, room
from eos_platform.search.schedule import Schedule
from eos_platform.search.step import Stepper
from eos_platform.tasks.batch import at_once
from eos_platform.tasks.together import Tell, free_memory, group, tried

SPARE = 0.9  # of the room, that a step may take: the allocator's pieces do not fit without gaps
EASY = 0.25  # a batch that takes less of the room is left whole
BUSY = 8192  # tokens at once beyond which nothing gets faster
TOO_FEW = 2048  # and below which running layers twice is better
RECORDED = 5e13  # FLOPs of a part from which launching its kernels is hidden behind running them


@dataclass(frozen=True)
class Estimate:
    """What a search will take.

    Attributes:
        at_once: questions that go through the model together in a step.
        parts: of a step's batch, in one process.
        checkpointing: whether layers run again in the backward pass.
        step_seconds: mean over the search.
        seconds: of the whole search, trials and evaluations included.
        weights: bytes of the model and of its pictures' features, where they are most.
        memory: bytes at the peak, with these.
        disk: bytes that are written: features and the search's state.
        pace: seconds of a step by how many tokens compete.
        steps: seconds of each.
    """

    at_once: int
    parts: int
    checkpointing: bool
    step_seconds: float
    seconds: float
    weights: float
    memory: float
    disk: float
    pace: Pace
    steps: tuple[float, ...] = field(repr=False)

    def lines(self) -> list[str]:
        """In words."""
        how = f"{self.at_once} questions at once" + (f", {self.parts} parts per step" if self.parts > 1 else "")
        again = "activation checkpointing" if self.checkpointing else "no activation checkpointing"
        first, last = shown_seconds(self.steps[0]), shown_seconds(self.steps[-1])
        each = f"{first} per step" if first == last else f"{first} for the first step, {last} for the last"
        return [
            f"estimate: {shown_seconds(self.seconds)} ({each}), "
            f"{shown_bytes(self.memory)} of memory ({shown_bytes(self.weights)} before the first step), "
            f"{shown_bytes(self.disk)} on disk",
            f"batches: {how}, {again}",
        ]


def prepare(
    stepper: Stepper, deployed: Deployed, schedule: Schedule, resources: Resources, tell: Tell | None
) -> Estimate | None:
    """Settle how the steps of a search run, and say what it will take.

    Args:
        stepper: whose steps they are.
        deployed: of the same search.
        schedule: likewise.
        resources: what the search may take.
        tell: is told the estimate; None: nobody asks, and where the batch fits easily nothing is rehearsed.

    Raises:
        EosError: not even one question fits.
    """
    estimate = _settle(stepper, deployed, schedule, resources, tell) if group().first else None
    # processes run their steps alike: whether to record them, in parts of which size
    how = group().of_first((stepper.at_once, stepper.checkpointing, stepper.captures))
    stepper.at_once, stepper.checkpointing, stepper.captures = how
    if tell is not None and estimate is not None:
        for line in estimate.lines():
            tell(line)
    return estimate


def _settle(
    stepper: Stepper, deployed: Deployed, schedule: Schedule, resources: Resources, tell: Tell | None
) -> Estimate | None:
    """The same in the first process, which has the largest share of a batch."""
    model, batch = stepper.workload.model, len(stepper.mine_b)
    # what a process can take of one device, least first
    rooms = [room(device, resources.memory) for device in gpus_of(model) or [model.device]]
    stepper.at_once, stepper.checkpointing = batch, bool(resources.checkpointing)
    easy = all(one is None or _roughly(stepper, batch) < EASY * one for one in rooms)
    if easy and tell is None and resources.at_once is None:
        return None
    budget = schedule.budget(0)
    rehearsal = Rehearsal(stepper, deployed.candidates(budget), budget, schedule.temperature(0))
    size, again, lines = _choice(rehearsal, batch, rooms, resources, easy)
    stepper.at_once, stepper.checkpointing = size, again
    free_memory()
    if 3 * _flops(stepper, rehearsal.candidates) * size > RECORDED:
        stepper.captures = False
    estimate = _estimate(rehearsal, deployed, schedule, size, again, lines, batch)
    free_memory()
    return estimate


def _choice(
    rehearsal: Rehearsal, batch: int, rooms: list[int | None], resources: Resources, easy: bool
) -> tuple[int, bool, list[Line]]:
    """Questions at once, whether layers run twice, and the memory that takes.

    Raises:
        EosError: not even one question fits.
    """
    stepper, wanted = rehearsal.stepper, resources.checkpointing
    a_question = _tokens(stepper, rehearsal.candidates)
    most = batch if easy else min(batch, max(1, math.ceil(BUSY / a_question)))
    if resources.at_once is not None:
        most = min(batch, resources.at_once)

    def fitting(again: bool) -> tuple[int, list[Line]]:
        found = tried(lambda: rehearsal.lines(again))
        if found is None:  # a question or three are too many
            return 0, []
        lines = found[0]
        fits = [line.questions(SPARE * one) for line, one in zip(lines, rooms, strict=True) if one is not None]
        return min([most, *fits]), lines

    plain = fitting(bool(wanted))
    size, lines, again = *plain, bool(wanted)
    if wanted is None and size < most and size * a_question < TOO_FEW:
        other = fitting(True)
        if other[0] > size:
            size, lines, again = *other, True
    if size < 1:
        takes = f", a step takes {shown_bytes(max(line.bytes(1) for line in lines))} for one question" if lines else ""
        left = max(0, min((one for one in rooms if one is not None), default=0))
        raise EosError(
            f"out of memory: {shown_bytes(left)} are left beside the model{takes}; weights of fewer bits (--dtype),"
            " more memory (--memory) or a smaller model may help"
        )
    return math.ceil(batch / math.ceil(batch / size)), again, lines


def _roughly(stepper: Stepper, questions: int) -> float:
    """Bytes that a step with so many questions at once keeps, from the model's sizes and every token."""
    shape, model = stepper.workload.shape, stepper.workload.model
    tokens = stepper.workload.target.tokens * shape.units + stepper.workload.text_tokens
    element = torch.finfo(model.dtype).bits // 8
    return 1.5 * questions * tokens * shape.layers * layer_bytes(shape, element)


def _tokens(stepper: Stepper, candidates: int) -> int:
    """Tokens of a question behind the first site."""
    workload = stepper.workload
    return workload.shape.units * candidates + workload.text_tokens


def _flops(stepper: Stepper, candidates: int) -> float:
    """Of one question's way through the decoder."""
    workload = stepper.workload
    first = next(iter(stepper.parameters.layers), workload.shape.layers)  # sites of a design are taken for none
    whole = workload.shape.units * workload.target.tokens + workload.text_tokens
    behind = layer_flops(workload.shape, float(_tokens(stepper, candidates)))
    return first * layer_flops(workload.shape, float(whole)) + (workload.shape.layers - first) * behind


def _estimate(
    rehearsal: Rehearsal, deployed: Deployed, schedule: Schedule, size: int, again: bool, lines: list[Line], batch: int
) -> Estimate:
    stepper, config = rehearsal.stepper, rehearsal.stepper.config
    encoded, workload = stepper.encoded, stepper.workload
    each = batch / size * encoded.mean_share  # of what as many as go at once take, if they are the largest
    compete, first = competing(deployed, schedule, config), rehearsal.candidates
    most = first, each * rehearsal.seconds(size, again)
    rehearsal.candidates = min(compete)
    pace = Pace(most, most if rehearsal.candidates == first else (min(compete), each * rehearsal.seconds(size, again)))
    steps = tuple(map(pace.seconds, compete))
    ask, asking = rehearsal.asking(min(at_once(workload.model), len(encoded)) if gpus_of(workload.model) else size)
    ask *= encoded.mean_share
    # reduced questions in about the share of the time that they take of the compute
    reduced = max(config.budget, 0.1) if config.cost == "compute_ratio" else 0.5
    trials = min(tried_on(config), len(encoded)) * (len(STEEPNESS) + COMPARED)
    relaxed = _flops(stepper, compete[-1]) / _flops(stepper, workload.target.tokens)
    asked = len(encoded) + reduced * trials + (reduced + relaxed) * config.eval_questions
    seconds = sum(steps) + asked * ask / group().size
    taken = [max(line.bytes(size), other) for line, other in zip(lines, asking, strict=True)]
    weights, memory = _held(workload.model, stepper, taken)
    state = 4 * sum(value.numel() * value.element_size() for value in stepper.parameters.parameters())
    parts = math.ceil(batch / size)
    disk = encoded.feature_bytes + state
    return Estimate(size, parts, again, sum(steps) / len(steps), seconds, weights, memory, disk, pace, steps)


def _held(model: Any, stepper: Stepper, taken: list[float]) -> tuple[float, float]:
    """Bytes before the first step and at its peak, on the device where the peak is highest."""
    devices = gpus_of(model)
    if devices:
        before: list[float] = [float(torch.cuda.memory_allocated(one)) for one in devices]
    else:
        weights = sum(one.numel() * one.element_size() for one in model.parameters())
        before = [float(weights + stepper.encoded.feature_bytes)]
    answers = len(stepper.encoded) * stepper.encoded.answer_places * stepper.workload.shape.hidden
    before[0] += answers * (torch.finfo(model.dtype).bits // 8)  # what the unreduced model says of every answer
    both = [(have, have + more) for have, more in zip(before, taken, strict=True)]
    return max(both, key=lambda pair: pair[1])
