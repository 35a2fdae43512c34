"""Searches with a budget in milliseconds on a CPU: predicted, measured, and met, beside searches by FLOPs.

    python -m eos_platform.analysis.experiments.times.milliseconds --shares .7 .5 .35 --out milliseconds
    python -m eos_platform.analysis.experiments.times.milliseconds --table --out milliseconds

Each share of the unreduced time is a budget of a search, from a device profile that is measured first. The operator is
measured as it was searched, then with its counts scaled to meet the budget (``search.meeting``). Beside it stands a
search at the compute ratio that this operator has, whose counts are scaled until it takes the same measured time. In
the end all are measured in turns, and asked validation questions. All times are of this process alone, on one core.
Budgets that stand in ``rows.jsonl`` are not searched again.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from eos_platform.bench.profiling.measure import measured
from eos_platform.bench.profiling.plan import plan
from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import read_text, write_atomic
from eos_platform.costs.flops import compute_ratio
from eos_platform.costs.prefill_time import timed_by
from eos_platform.costs.registry import COSTS
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.config import SearchConfig
from eos_platform.search.cost import SearchCost, search_cost
from eos_platform.search.meeting import meet
from eos_platform.search.run import search
from eos_platform.tasks import evaluate, load_workload
from eos_platform.tasks.base import Subject

ROWS, PROFILE = "rows.jsonl", "profile.json"
ROUNDS = 9  # of all operators in turns
Row = dict[str, Any]


def profiled(workload: Subject, batch: int, out: Path) -> Path:
    """The profile, measured unless it is there."""
    path = out / PROFILE
    if not path.is_file():
        target, text = workload.target, workload.text_tokens
        wanted = plan(target, workload.shape.hidden, text, ["eager"], [batch], pictures=False)
        given = workload.model, workload.name, target.grid, text, wanted, path.with_suffix(".part")
        measured(*given, clock=time.process_time).save(path)
        path.with_suffix(".part").unlink(missing_ok=True)
    return path


def searched(workload: Subject, share: float, settings: dict[str, Any], timed: dict[str, Any]) -> Row:
    """One budget: both searches, and what became of them."""
    base = search_cost(workload, SearchConfig(budget=1e9, **timed))
    target = share * base.whole
    config = SearchConfig(budget=target, **timed, **settings)
    found = search(workload, config, cost=base, meets=False)
    assert found.cost is not None
    met = meet(base, found.operator, target)
    ratio = compute_ratio(met.operator, workload.shape, workload.text_tokens)
    plain = search(workload, SearchConfig(budget=ratio, **settings))
    same = meet(base, plain.operator, met.spent.value)
    operators = {"searched": found.operator, "met": met.operator, "flops": plain.operator, "flops_met": same.operator}
    row: Row = {"share": share, "target": target, "predicted": found.cost.predicted}
    row |= {"unreduced_ms": base.whole, "ratio": ratio, "steps": config.steps, "batch_size": config.batch_size}
    row |= {f"{name}_ms": value for name, value in in_turns(base, operators).items()}
    for name, operator in operators.items():
        row[f"{name}_ratio"] = compute_ratio(operator, workload.shape, workload.text_tokens)
        row[f"{name}_accuracy"] = evaluate(workload, operator, "validation", config.eval_questions).accuracy
        row[f"{name}_sites"] = [[site.layer, site.keep, site.selector] for site in operator.sites]
    return row


def in_turns(cost: SearchCost, operators: dict[str, OperatorSpec]) -> dict[str, float]:
    """Milliseconds of each operator, the median over rounds in which all are measured."""
    every: dict[str, OperatorSpec | None] = {"turns_unreduced": None, **operators}
    times: dict[str, list[float]] = {name: [] for name in every}
    for _ in range(ROUNDS):
        for name, operator in every.items():
            times[name].append(COSTS[cost.cost.name].measure(cost.context, operator))
    return {name: statistics.median(values) for name, values in times.items()}


def read_rows(out: Path) -> list[Row]:
    """What was found."""
    path = out / ROWS
    if not path.is_file():
        return []
    return [strict_json.loads(line, str(path)) for line in read_text(path, "rows").splitlines()]


def table(rows: list[Row]) -> str:
    """What was found, a line each."""
    lines = [
        f"{'target ms':>10}{'predicted':>10}{'measured':>10}{'off':>8}{'met ms':>8}{'off':>8}{'accuracy':>10}"
        f"{'ratio':>7} | by FLOPs{'ms':>8}{'accuracy':>10}{'same ms':>9}{'accuracy':>10}"
    ]
    for row in sorted(rows, key=lambda row: -row["share"]):
        target = row["target"]
        mine = f"{target:>10.2f}{row['predicted']:>10.2f}{row['searched_ms']:>10.2f}"
        mine += f"{row['searched_ms'] / target - 1:>+8.1%}{row['met_ms']:>8.2f}{row['met_ms'] / target - 1:>+8.1%}"
        mine += f"{row['met_accuracy']:>10.1%}{row['ratio']:>7.3f}"
        other = f"{row['flops_ms']:>17.2f}{row['flops_accuracy']:>10.1%}{row['flops_met_ms']:>9.2f}"
        lines.append(f"{mine} | {other}{row['flops_met_accuracy']:>10.1%}")
    return "\n".join(lines)


def main(words: list[str] | None = None) -> int:
    """Search what is missing and print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled-small")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.7, 0.5, 0.35], help="of the unreduced time")
    parser.add_argument("--batch", type=int, default=1, help="prompts at once, when the time is taken")
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--questions", type=int, default=64, help="a step")
    parser.add_argument("--search", type=int, default=2048, help="questions that are searched with")
    parser.add_argument("--eval", type=int, default=1024, help="validation questions")
    parser.add_argument("--table", action="store_true", help="print what was found, and search nothing")
    parser.add_argument("--out", type=Path, default=Path("milliseconds"))
    given = parser.parse_args(words)
    try:
        if not given.table:
            torch.set_num_threads(1)  # threads that wait for each other count as at work
            workload = load_workload(given.model, device="cpu")
            settings = {"steps": given.steps, "batch_size": given.questions}
            settings |= {"search_questions": given.search, "eval_questions": given.eval}
            profile = str(profiled(workload, given.batch, given.out))
            timed = {"cost": "prefill_ms", "cost_batch": given.batch, "device_profile": profile}
            for share in given.shares:
                if any(row["share"] == share for row in read_rows(given.out)):
                    continue
                with timed_by(time.process_time):
                    row = searched(workload, share, settings, timed)
                terminal.say(f"{share:g} of the unreduced time: {time.process_time():.0f} s of this process so far")
                lines = [strict_json.dumps(one) for one in [*read_rows(given.out), row]]
                write_atomic(given.out / ROWS, "\n".join(lines) + "\n")
        terminal.say(table(read_rows(given.out)))
    except EosError as error:
        terminal.say(f"milliseconds: {error}", stderr=True)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
