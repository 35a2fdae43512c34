"""What each part of the search is worth: the same search with one thing changed, deployed and asked held-out questions.

    python -m eos_platform.analysis.experiments.search_ablations --model bundled --budgets .05 --seeds 3 --out out.jsonl
    python -m eos_platform.analysis.experiments.search_ablations --variants steps-240 steps-120 steps-60 --budgets .15

Each search is a line of the file given; searches that stand there already are not run again. The steps-N variants are
whole searches of so few steps: what accuracy how many samples buy.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eos_platform.analysis.comparison.settings import parse_ratios, parse_search
from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError, unknown
from eos_platform.common.files import check_writable
from eos_platform.search.config import SearchConfig
from eos_platform.search.run import search
from eos_platform.tasks import evaluate, load_workload
from eos_platform.tasks.base import Subject

UNASKED = ("steps-", "no-warm-up")  # of variants that are run when named only
FIXED: dict[str, dict[str, Any]] = {
    "default": {},
    # objective
    "no-alignment": {"align_weight": 0.0},
    "no-distillation": {"distill_weight": 0.0},
    "task-only": {"align_weight": 0.0, "distill_weight": 0.0},
    # budget
    "penalty": {"budget_rule": "penalty"},
    "two-sided": {"budget_rule": "two-sided"},
    # operator
    "no-steering": {"steering_rank": 0},
    "rank-4": {"steering_rank": 4},
    "rank-32": {"steering_rank": 32},
    "no-probe": {"probe": False},
    "by-score": {"selector": "score"},
    "no-probe-by-score": {"probe": False, "selector": "score"},
    "renumber": {"positions": "renumber"},
    "no-sizes": {"size_bias": False},
    # relaxation
    "no-straight-through": {"straight_through": 0.0},
    "straight-through-.4": {"straight_through": 0.4},
    "cool-start": {"temperature_start": 0.03},
    "hot-start": {"temperature_start": 1.0},
    # optimiser
    "rate-.02": {"learning_rate": 0.02},
    "rate-.1": {"learning_rate": 0.1},
    "batch-32": {"batch_size": 32},
    "batch-128": {"batch_size": 128},
}


def variants(depth: int) -> dict[str, dict[str, Any]]:
    """Settings that differ from the default search, by name; sites are placed by the model's depth."""
    quarter, middle, deep = depth // 4, depth // 2, 5 * depth // 8
    placed = {
        "site-0": {"layers": [0]},
        f"sites-0-{quarter}": {"layers": sorted({0, quarter})},
        f"sites-{quarter}-{deep}": {"layers": [quarter, deep]},
        f"sites-0-{quarter}-{middle}-{deep}": {"layers": sorted({0, quarter, middle, deep})},
    }
    return (
        FIXED
        | placed
        | {"no-warm-up": {"budget_warm_up": 1.0}}
        | {f"steps-{n}": {"steps": n} for n in (30, 60, 120, 240, 960)}
    )


def ablate(
    workload: Subject, name: str, budget: float, seed: int, questions: int, settings: dict[str, Any]
) -> dict[str, Any]:
    """One search and what its deployed operator answers.

    Args:
        settings: of every search; the variant has the last word.

    Raises:
        EosError: an unknown variant, or a budget nothing reaches.
    """
    known = variants(workload.target.layers)
    if name not in known:
        raise unknown("variant", name, known)
    config = SearchConfig.of({**settings, **known[name], "budget": budget, "seed": seed}, "--set")
    workload.encoded("search", config.search_questions)  # in no search's time
    result = search(workload, config)
    return {
        "model": workload.name,
        "variant": name,
        "budget": budget,
        "seed": seed,
        "heldout": evaluate(workload, result.operator, "heldout", questions).accuracy,
        "questions": questions,
        "compute_ratio": result.compute_ratio,
        "validation": result.accuracy,
        "relaxed": result.relaxed_accuracy,
        "samples": result.samples,
        "seconds": result.seconds,
        "counts": list(result.operator.counts),
    }


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Mean over seeds, and the range, of every variant at every budget."""
    groups: dict[tuple[float, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["budget"], row["variant"]), []).append(row)
    lines = [
        f"{'budget':>7} {'variant':22}{'seeds':>6}{'heldout %':>11}{'range':>14}{'ratio':>8}{'relaxed-deployed':>18}"
        f"{'samples':>9}{'s':>7}"
    ]
    for (budget, name), group in groups.items():
        shares = [100 * row["heldout"] for row in group]
        gap = statistics.fmean(100 * (row["relaxed"] - row["validation"]) for row in group)
        lines.append(
            f"{budget:>7g} {name:22}{len(group):>6}{statistics.fmean(shares):>11.2f}"
            f"{min(shares):>8.1f}..{max(shares):.1f}{max(row['compute_ratio'] for row in group):>7.4f}"
            f"{gap:>18.2f}{group[0]['samples']:>9}{statistics.fmean(row['seconds'] for row in group):>7.1f}"
        )
    return "\n".join(lines)


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        return (
            [strict_json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
        )
    except (OSError, ValueError) as error:
        raise EosError(f"{path}: {error}") from None


def main(words: list[str] | None = None) -> int:
    """Run what is missing, print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--budgets", default=".05", help="compute ratios, with commas between")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", nargs="+", metavar="NAME", help="default: all but the steps-N and no-warm-up")
    parser.add_argument("--questions", type=int, default=4096, help="held-out")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of every search")
    parser.add_argument("--device", help="default: the GPU if there is one")
    parser.add_argument("--out", type=Path, default=Path("ablations.jsonl"), help="one line a search")
    given = parser.parse_args(words)
    try:
        settings = parse_search(given.set)
        check_writable(given.out)
        rows = _read(given.out)
        done = {(row["model"], row["variant"], row["budget"], row["seed"], row["questions"]) for row in rows}
        workload = load_workload(given.model, device=given.device)
        known = variants(workload.target.layers)
        names = given.variants or [name for name in known if not name.startswith(UNASKED)]
        for name in names:
            if name not in known:
                raise unknown("variant", name, known)
        for budget in parse_ratios(given.budgets, "--budgets") or ():
            for name in names:
                for seed in range(given.seeds):
                    if (workload.name, name, budget, seed, given.questions) in done:
                        continue
                    rows.append(ablate(workload, name, budget, seed, given.questions, settings))
                    with given.out.open("a", encoding="utf-8") as file:
                        file.write(strict_json.dumps(strict_json.plain(rows[-1])) + "\n")
                    terminal.say(f"{name} at {budget:g}, seed {seed}: {rows[-1]['heldout']:.2%}")
    except EosError as error:
        terminal.say(f"search_ablations: {error}", stderr=True)
        return 2
    terminal.say(table(rows))
    return 0


if __name__ == "__main__":
    terminal.run(main)
