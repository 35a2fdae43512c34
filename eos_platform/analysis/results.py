"""Searched operators beside the simple baselines at the same compute, on held-out questions; one line of JSON each.

    python -m eos_platform.analysis.results --model bundled --budgets .2 .1 .05 --seeds 0 1 2 --out results.jsonl

Needs neither scheduler nor tracker. Times are of the whole search, encoding apart.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import yaml

from eos_platform.analysis.intervals import wilson
from eos_platform.analysis.match import match
from eos_platform.errors import EosError
from eos_platform.models.compute import compute_ratio, prefill_flops
from eos_platform.models.counted import counted_flops
from eos_platform.operators.designs import DESIGNS
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search import SearchConfig, search
from eos_platform.tasks import Workload, evaluate, load_workload


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--budgets", type=float, nargs="*", default=[0.2, 0.1, 0.05])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--questions", type=int, default=4096, help="held-out questions")
    parser.add_argument("--designs", nargs="*", default=sorted(DESIGNS), help="baselines; none: only searched ones")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="search settings, e.g. steps=480")
    parser.add_argument("--full", action="store_true", help="the unreduced model too, per skill")
    parser.add_argument("--flops", action="store_true", help="analytic against counted FLOPs of every operator")
    parser.add_argument("--out", type=Path, help="also append the lines to this file")
    parser.add_argument("--operators", type=Path, help="folder for the operator files found")
    options = parser.parse_args()
    if any("=" not in text for text in options.set):
        parser.error("--set takes KEY=VALUE, such as steps=480")
    settings = {key: yaml.safe_load(value) for key, value in (text.split("=", 1) for text in options.set)}
    try:
        SearchConfig.of({"budget": 1.0, **settings}, "--set")
        workload = load_workload(options.model)
    except EosError as error:
        parser.error(str(error))
    with options.out.open("a") if options.out else open("/dev/null", "w") as out:
        run(workload, options, settings, out)


def run(workload: Workload, options: argparse.Namespace, settings: dict[str, Any], out: TextIO) -> None:
    """Measure everything asked for, cheapest first."""

    def tell(record: dict[str, Any]) -> None:
        print(json.dumps(record), flush=True)
        out.write(json.dumps(record) + "\n")
        out.flush()

    if options.full:
        found = evaluate(workload, None, "heldout", options.questions)
        tell({"name": "unreduced", "accuracy": found.accuracy, "questions": found.questions, **found.per_skill})
    for budget in options.budgets:
        for name in options.designs:
            try:
                operator = match(name, budget, workload.target, workload.shape, workload.text_tokens)
            except EosError as error:
                tell({"name": name, "budget": budget, "error": str(error)})
                continue
            tell({"name": name, "budget": budget, **measured(workload, operator, options)})
    for budget in options.budgets:
        for seed in options.seeds:
            workload.encoded("search", settings.get("search_questions", SearchConfig().search_questions))
            started = time.monotonic()
            config = SearchConfig.of({"budget": budget, "seed": seed, **settings}, "--set")
            result = search(workload, config)
            record = {
                "name": "searched",
                "budget": budget,
                "seed": seed,
                "settings": settings,
                "seconds": time.monotonic() - started,
                "samples": result.samples,
                "validation": result.accuracy,
                "relaxed_minus_deployed": result.relaxed_accuracy - result.accuracy,
                **measured(workload, result.operator, options),
            }
            tell(record)
            if options.operators:
                result.operator.save(options.operators / f"{workload.name}-{budget:g}-seed{seed}.json")


def measured(workload: Workload, operator: OperatorSpec, options: argparse.Namespace) -> dict[str, Any]:
    """Deployed accuracy on held-out questions and what the operator computes."""
    found = evaluate(workload, operator, "heldout", options.questions)
    low, high = wilson(np.asarray(found.correct))
    record: dict[str, Any] = {
        "accuracy": found.accuracy,
        "low": low,
        "high": high,
        "compute_ratio": compute_ratio(operator, workload.shape, workload.text_tokens),
        "mean_tokens": operator.mean_tokens,
        "counts": operator.counts,
        "regime": operator.regime,
        "per_skill": {skill: round(share, 4) for skill, share in found.per_skill.items()},
    }
    if options.flops:
        analytic = prefill_flops(workload.shape, workload.text_tokens, operator, workload.target.tokens)
        counted = counted_flops(workload.model, operator, workload.text_tokens)
        record |= {"analytic_flops": analytic, "counted_flops": counted, "analytic_over_counted": analytic / counted}
    return record


if __name__ == "__main__":
    main()
