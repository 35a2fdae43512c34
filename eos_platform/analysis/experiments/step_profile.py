"""Where the time of one step of a search goes on a model of true size; printed by ``true_size --profile``.

No step is taken: gradients are, at three points of a whole search's schedule, as tokens that compete become fewer. At
the last of them, where a search spends most of its steps, one is profiled.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from eos_platform.costs.flops import layer_flops
from eos_platform.search.checkpoint import Progress
from eos_platform.search.config import SearchConfig
from eos_platform.search.deployed import Deployed
from eos_platform.search.parameters import Parameters
from eos_platform.search.scale.fitting import prepare
from eos_platform.search.scale.rehearse import synchronise
from eos_platform.search.scale.resources import Resources
from eos_platform.search.schedule import Schedule
from eos_platform.search.start import check
from eos_platform.search.step import Stepper
from eos_platform.tasks.base import Subject
from eos_platform.tasks.together import Tell

DEAREST = 12
TIMES = 3  # that a step is timed, after one that is not
NAME = 78  # characters of a kernel's name


def profiled(workload: Subject, config: SearchConfig, resources: Resources, tell: Tell) -> dict[str, Any]:
    """Seconds of a step at three points, and the dearest operations and kernels at the last.

    Args:
        workload: whose search.
        config: of a whole search.
        resources: what it may take.
        tell: is told how it is made to fit.

    Raises:
        EosError: not even one question fits.
    """
    stepper, deployed, schedule = undertaken(workload, config)
    prepare(stepper, deployed, schedule, resources, tell)
    rows = []
    last = schedule.soft_steps - 1
    for step, carried in ((0, None), (schedule.soft_steps // 4, None), (last, False), (last, None)):
        stepper.carried = carried
        budget = schedule.budget(step)
        candidates = deployed.candidates(budget)
        stepper.budget.fill_(budget)
        stepper.temperature.fill_(schedule.temperature(step))
        work = lambda candidates=candidates: stepper.gradient(False, candidates)  # noqa: E731
        seconds = _seconds(work, workload.model)
        flops = _flops(stepper, candidates)
        row = {"step": step, "candidates": candidates, "seconds": seconds, "teraflops": flops / seconds / 1e12}
        rows.append({**row, "masked": carried is False})
    return {"points": rows, "at_once": stepper.at_once, "checkpointing": stepper.checkpointing, **_dearest(work)}


def undertaken(workload: Subject, config: SearchConfig) -> tuple[Stepper, Deployed, Schedule]:
    """What runs the steps of a search that is never begun."""
    cost = check(workload, config)
    parameters = Parameters(config, workload.target, workload.shape.hidden, workload.features)
    parameters.to(workload.adapter.home)
    encoded = workload.encoded("search", config.search_questions)
    if len(parameters.mean_question):
        parameters.mean_question.copy_(encoded.mean_question())
    stepper = Stepper(workload, config, parameters, encoded, cost)
    stepper.index_b.copy_(encoded.heaviest(len(stepper.index_b)))
    deployed = Deployed(workload, config, parameters, Progress(), encoded, cost)
    return stepper, deployed, Schedule(config, cost.whole)


def _seconds(work: Callable[[], Any], model: Any) -> float:
    """The median of a few runs after a first one."""
    found = []
    for _ in range(1 + TIMES):
        synchronise(model)
        start = time.perf_counter()
        work()
        synchronise(model)
        found.append(time.perf_counter() - start)
    return statistics.median(found[1:])


def _flops(stepper: Stepper, candidates: int) -> float:
    """Of a step: forward, the gradient of what layers are handed, which is as much again, and what is run twice."""
    workload, first = stepper.workload, stepper.parameters.layers[0]
    text, units, shape = workload.text_tokens, workload.shape.units, workload.shape
    before = first * layer_flops(shape, float(units * workload.target.tokens + text))
    behind = (shape.layers - first) * layer_flops(shape, float(units * candidates + text))
    return len(stepper.index_b) * (before + (3 if stepper.checkpointing else 2) * behind)


def _dearest(work: Callable[[], Any]) -> dict[str, Any]:
    """The operations and kernels that take longest in themselves (name, milliseconds, calls), and the sums of all."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
        torch.cuda.synchronize()
    with torch.profiler.profile(activities=activities) as profile:
        start = time.perf_counter()
        work()
        if on_gpu:
            torch.cuda.synchronize()
        wall = time.perf_counter() - start
    events = profile.key_averages()
    gpu = torch.autograd.DeviceType.CUDA
    kernels = [one for one in events if one.device_type == gpu]
    operations = [one for one in events if one.device_type != gpu]

    def dearest(of: list[Any], spent: Callable[[Any], float]) -> list[tuple[str, float, int]]:
        first = sorted(of, key=spent, reverse=True)[:DEAREST]
        return [(one.key, spent(one) / 1000, one.count) for one in first if spent(one) > 0]

    device = lambda one: one.self_device_time_total  # noqa: E731
    return {
        "wall": wall,
        "busy": sum(map(device, kernels)) / 1e6,
        "launches": sum(one.count for one in kernels),
        "operations": dearest(operations, device if on_gpu else lambda one: one.self_cpu_time_total),
        "kernels": dearest(kernels, device),
    }


def shown(name: str, found: dict[str, Any]) -> str:
    """In lines."""
    again = "with" if found["checkpointing"] else "no"
    lines = [
        f"{name}: {found['at_once']} questions at once, {again} activation checkpointing",
        f"{'step':>6}{'candidates':>12}{'s/step':>9}{'TFLOP/s':>9}",
    ]
    for row in found["points"]:
        lines.append(
            f"{row['step']:>6}{row['candidates']:>12}{row['seconds']:>9.3f}{row['teraflops']:>9.1f}"
            + ("  (presence in masks)" if row["masked"] else "")
        )
    lines.append(
        f"the last of these, profiled: {found['wall']:.3f} s, kernels {found['busy']:.3f} s, {found['launches']} calls"
    )
    for what in ("operations", "kernels"):
        if found[what]:
            lines.append(f"dearest {what}, in themselves:   ms, calls")
        lines += [f"  {spent:>9.1f}{calls:>7}  {key[:NAME]}" for key, spent, calls in found[what]]
    return "\n".join(lines)
