"""What a search takes at true size, beside what it said before: seconds a step, peak memory, the whole search.

    python -m eos_platform.analysis.experiments.true_size --model llava-1.5-7b --steps 24
    python -m eos_platform.analysis.experiments.true_size --model llava-1.5-7b --memory 22GB --steps 24
    python -m eos_platform.analysis.experiments.true_size --model llava-1.5-7b --gpus 2 --steps 24
    python -m eos_platform.analysis.experiments.true_size --model llava-1.5-7b --whole

Models have random weights at the sizes of the named ones (``true_models.py``). Without ``--whole`` a short search is
run, and a whole one (480 steps of 64 questions, 8,192 of them to search on, 1,024 to validate) is extrapolated from
what its parts took, and marked so. With ``--gpus 2`` the same short search runs in one process and in two, and their
parameters are compared. ``--tiny`` takes small models of the same classes, to try this on a CPU.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from eos_platform.analysis.experiments.true_models import NAMES, subject_of
from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.boundary import error_text
from eos_platform.common.errors import brief
from eos_platform.common.sizes import parse_bytes, shown_bytes, shown_seconds
from eos_platform.search.config import SearchConfig
from eos_platform.search.deployed import tried_on
from eos_platform.search.objective import teacher_states
from eos_platform.search.result import SearchResult
from eos_platform.search.scale.processes import search_together
from eos_platform.search.scale.resources import Resources
from eos_platform.tasks.together import free_memory

WHOLE = SearchConfig(budget=0.2)  # whose time is extrapolated


class OutOfTime(Exception):
    """The deadline is near; what is known by then is reported."""


def measured(
    name: str, config: SearchConfig, given: argparse.Namespace, processes: int, begun: float
) -> dict[str, Any]:
    """One search, and what it took.

    Args:
        name: of the model.
        config: of the search.
        given: the command's options.
        processes: that share it.
        begun: when the command began; it stops before ``given.deadline`` seconds are over.

    Raises:
        Exception: whatever stops it.
    """
    device = given.device or ("cuda:0" if torch.cuda.is_available() else "cpu")
    load = partial(subject_of, name, config.search_questions, config.eval_questions, given.tiny)
    memory = parse_bytes(given.memory) if given.memory else None
    resources = Resources(memory=memory, processes=processes)
    start = time.perf_counter()
    workload = load(device=device)
    resources.limit(workload.model)
    row: dict[str, Any] = {
        "model": name,
        "processes": processes,
        "memory_limit": memory,
        "steps": config.steps,
        "batch_size": config.batch_size,
        "weights": sum(one.numel() * one.element_size() for one in workload.model.parameters()),
        "build_seconds": time.perf_counter() - start,
    }
    start = time.perf_counter()
    encoded = workload.encoded("search", config.search_questions)
    workload.encoded("validation", config.eval_questions)
    row |= {"encode_seconds": time.perf_counter() - start, "questions": len(encoded), "features": encoded.feature_bytes}
    if processes == 1:  # on its own, so that its time is known; the search finds it done
        start = time.perf_counter()
        teacher_states(workload.model, encoded)
        row["teacher_seconds"] = time.perf_counter() - start
    stamps: list[tuple[int, float]] = []
    lines: list[str] = []

    def report(step: int, curves: dict[str, float]) -> None:
        stamps.append((step, time.perf_counter()))
        if time.monotonic() - begun > given.deadline:
            raise OutOfTime

    def tell(line: str) -> None:
        lines.append(line)
        terminal.say(f"  {name}: {line}")

    start = time.perf_counter()
    result: SearchResult | None = None
    try:
        result = search_together(load, workload, config, resources, report=report, tell=tell)
    except OutOfTime:
        row["stopped_at"] = stamps[-1][0]
    row["search_seconds"] = time.perf_counter() - start + row.get("teacher_seconds", 0.0)
    if torch.cuda.is_available():
        row["peak"] = torch.cuda.max_memory_allocated()
        row["peak_reserved"] = torch.cuda.max_memory_reserved()
    row["told"] = lines
    row |= _steps(stamps, config)
    if result is not None:
        row |= _finished(result)
        row["estimate"] = vars(result.estimate) if result.estimate else None
    row["whole_seconds"], row["whole_is"] = _whole(row, config)
    return row


def _steps(stamps: list[tuple[int, float]], config: SearchConfig) -> dict[str, Any]:
    """Seconds a step: of the soft ones between two reports, the first left out; and of the trials among the others."""
    gaps = [(n, (t - s) / (n - m), t - s) for (m, s), (n, t) in itertools.pairwise(stamps)]
    soft_steps = config.steps - round(config.straight_through * config.steps)
    soft = [each for step, each, _ in gaps if step <= soft_steps] or [each for _, each, _ in gaps]
    if not soft:
        return {}
    step = statistics.fmean(sorted(soft)[: max(1, round(0.9 * len(soft)))])  # without captures and what is made once
    late = [(each, whole) for number, each, whole in gaps if number > soft_steps]
    trials = max(0.0, sum(whole for _, whole in late) - len(late) * step)
    return {"step_seconds": step, "trial_seconds": trials, "steps_measured": len(gaps)}


def _finished(result: SearchResult) -> dict[str, Any]:
    return {
        "run_seconds": result.seconds,  # steps, trials and evaluations
        "accuracy": result.accuracy,
        "relaxed_accuracy": result.relaxed_accuracy,
        "compute_ratio": result.compute_ratio,
        "counts": list(result.operator.counts),
        "parameters": {name: value.detach().float().cpu() for name, value in result.parameters.items()},
    }


def _whole(row: dict[str, Any], config: SearchConfig) -> tuple[float | None, str]:
    """Seconds of a whole search, and whether it was run or is extrapolated."""
    if "step_seconds" not in row:
        return None, "not known"
    if config == WHOLE and "stopped_at" not in row:
        return row["search_seconds"] + row["encode_seconds"], "run"
    if row["processes"] > 1:  # what is done once is not told apart
        return None, "(see the next line)"
    asked = row["questions"]
    more = WHOLE.search_questions / asked
    trials = row["trial_seconds"] * tried_on(WHOLE) / min(tried_on(config), asked)
    taught = row.get("teacher_seconds", 0.0)
    last = max(0.0, row["search_seconds"] - taught - config.steps * row["step_seconds"] - row["trial_seconds"])
    last = 0.0 if "stopped_at" in row else last * WHOLE.eval_questions / config.eval_questions
    teacher = taught * more
    return WHOLE.steps * row["step_seconds"] + trials + last + teacher + row["encode_seconds"] * more, "extrapolated"


def difference(one: dict[str, Any], two: dict[str, Any]) -> float:
    """The largest difference of two searches' parameters, over the largest of each."""
    shares = [
        float((value - two[name]).abs().max()) / max(float(value.abs().max()), 1e-6)
        for name, value in one.items()
        if value.numel()
    ]
    return max(shares)


def table(rows: list[dict[str, Any]]) -> str:
    """What was said and what happened, a line a search."""
    head = (
        f"{'model':22}{'GPUs':>5}{'limit':>9}{'at once':>8}{'again':>6}{'s/step':>9}{'said':>9}{'peak':>11}{'said':>11}"
        f"{'search':>12}{'said':>12}{'whole search':>25}"
    )
    lines = [head]
    for row in rows:
        if "failed" in row:
            lines.append(f"{row['model']:22}{row['processes']:>5} failed: {row['failed']}")
            continue
        said = row.get("estimate") or {}
        of = lambda value, show: "-" if value is None else show(value)  # noqa: E731
        lines.append(
            f"{row['model']:22}{row['processes']:>5}{of(row['memory_limit'], shown_bytes):>9}"
            f"{of(said.get('at_once'), str):>8}{of(said.get('checkpointing'), lambda yes: 'yes' if yes else 'no'):>6}"
            f"{of(row.get('step_seconds'), '{:.3f}'.format):>9}{of(said.get('step_seconds'), '{:.3f}'.format):>9}"
            f"{of(row.get('peak'), shown_bytes):>11}{of(said.get('memory'), shown_bytes):>11}"
            f"{of(row.get('search_seconds'), shown_seconds):>12}{of(said.get('seconds'), shown_seconds):>12}"
            f"{of(row['whole_seconds'], shown_seconds):>12} {row['whole_is']}"
        )
        if "speedup" in row:
            lines.append(
                f"{'':22}{row['processes']} processes against one: {row['speedup']:.2f} times the steps a second, "
                f"{row['run_speedup']:.2f} times the searches; parameters differ by {row['difference']:.2g} of their "
                f"largest, counts {'alike' if row['alike'] else 'differ'}"
            )
    return "\n".join(lines)


def run(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Every search that is asked for; one that fails says why in a line, and the next begins."""
    begun, rows = time.monotonic(), list[dict[str, Any]]()
    short = SearchConfig(
        budget=WHOLE.budget,
        steps=given.steps,
        batch_size=given.batch,
        search_questions=given.questions,
        eval_questions=given.eval_questions,
    )
    for name in given.model:
        alone: dict[str, Any] | None = None
        for processes in dict.fromkeys((1, given.gpus)):
            try:
                row = measured(name, WHOLE if given.whole else short, given, processes, begun)
            except (Exception, OutOfTime) as error:
                text = brief(" ".join(error_text(error).split()), 200) or type(error).__name__
                row = {"model": name, "processes": processes, "failed": f"{type(error).__name__}: {text}"}
            parameters = row.pop("parameters", None)
            if processes == 1 and parameters:
                alone = {**row, "parameters": parameters}
            elif alone and parameters:
                row["speedup"] = alone["step_seconds"] / row["step_seconds"]
                row["run_speedup"] = alone["run_seconds"] / row["run_seconds"]
                row["difference"] = difference(alone["parameters"], parameters)
                row["alike"] = alone["counts"] == row["counts"]
            rows.append(row)
            if given.out:
                with given.out.open("a", encoding="utf-8") as file:
                    file.write(strict_json.dumps(strict_json.plain(row)) + "\n")
            free_memory()
    return rows


def main(words: list[str] | None = None) -> int:
    """Measure and print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["llava-1.5-7b"], help=f"{', '.join(NAMES)} or a bundled one")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--batch", type=int, default=64, help="questions a step, over all GPUs")
    parser.add_argument("--questions", type=int, default=512, help="to search on")
    parser.add_argument("--eval-questions", type=int, default=64)
    parser.add_argument("--memory", help="that a GPU is taken to have, such as 22GB")
    parser.add_argument("--gpus", type=int, default=1, help="also in so many processes, one a GPU")
    parser.add_argument("--whole", action="store_true", help="run whole searches: 480 steps of 64")
    parser.add_argument("--tiny", action="store_true", help="small models of the same classes")
    parser.add_argument("--device", help="default: the first GPU if there is one")
    parser.add_argument("--deadline", type=float, default=1e9, metavar="SECONDS", help="after which nothing goes on")
    parser.add_argument("--out", type=Path, help="one line of JSON a search")
    given = parser.parse_args(words)
    rows = run(given)
    terminal.say(table(rows))
    return 1 if all("failed" in row for row in rows) else 0


if __name__ == "__main__":
    terminal.run(main)
