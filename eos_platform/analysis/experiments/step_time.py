"""What a step of the search costs, beside one forward and backward pass of the unreduced frozen model.

    python -m eos_platform.analysis.experiments.step_time --model bundled --budget .15

A step runs fewer tokens than the unreduced model, but selects them; both are timed at the same batch. The gradient of
the unreduced model is taken with respect to its input, as a search that reduces before the first layer needs it.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from eos_platform.analysis.comparison.settings import parse_search
from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.costs.prefill_time import median_ms
from eos_platform.search.config import SearchConfig
from eos_platform.search.objective import losses, teacher_states
from eos_platform.search.run import SearchResult, search
from eos_platform.tasks import load_workload
from eos_platform.tasks.base import Subject
from eos_platform.tasks.scenes.encode import answer_states


def unreduced(workload: Subject, config: SearchConfig) -> Callable[[], None]:
    """One forward and backward pass of the unreduced model on a batch of the search's own, loss and all."""
    encoded = workload.encoded("search", config.search_questions)
    teacher_qad = teacher_states(workload.model, encoded)
    index_b = torch.arange(min(config.batch_size, len(encoded)), device=workload.model.device)
    batch = encoded.batch(index_b)
    batch.x_bsd.requires_grad_()
    teacher_bad = teacher_qad[index_b]

    def work() -> None:
        batch.x_bsd.grad = None
        parts = losses(workload.adapter, answer_states(workload.model, batch), teacher_bad, batch)
        torch.stack(list(parts.values())).sum().backward()

    return work


def step_time(workload: Subject, config: SearchConfig) -> dict[str, Any]:
    """Milliseconds of the passes and of the steps, and their ratios.

    ``step_ms`` is the median over the stretches between two reports; ``whole_ms`` the search's time over its steps, so
    that captures, deployed trials and the last evaluation are in it.
    """
    pass_ms = median_ms(unreduced(workload, config), workload.model.device)
    stamps: list[tuple[int, float]] = [(0, time.perf_counter())]
    result: SearchResult = search(workload, config, report=lambda step, _: stamps.append((step, time.perf_counter())))
    between = [1000 * (t - s) / (n - m) for (m, s), (n, t) in itertools.pairwise(stamps)]
    step_ms, whole_ms = statistics.median(between), 1000 * result.seconds / config.steps
    return {
        "batch": config.batch_size,
        "unreduced_ms": pass_ms,
        "step_ms": step_ms,
        "step_ratio": step_ms / pass_ms,
        "whole_ms": whole_ms,
        "whole_ratio": whole_ms / pass_ms,
        "seconds": result.seconds,
        "samples": result.samples,
        "accuracy": result.accuracy,
    }


def main(words: list[str] | None = None) -> int:
    """Measure and print one line of JSON; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--budget", type=float, default=0.15, help="compute ratio of the search")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a search setting")
    parser.add_argument("--device", help="default: the GPU if there is one")
    given = parser.parse_args(words)
    try:
        config = SearchConfig.of({**parse_search(given.set), "budget": given.budget}, "--set")
        terminal.say(strict_json.dumps(step_time(load_workload(given.model, device=given.device), config)))
    except EosError as error:
        terminal.say(f"step_time: {error}", stderr=True)
        return 2
    return 0


if __name__ == "__main__":
    terminal.run(main)
