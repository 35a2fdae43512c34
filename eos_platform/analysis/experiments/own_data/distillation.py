"""How much accuracy a search without answers loses against one with them, on the same questions.

    python -m eos_platform.analysis.experiments.own_data.distillation --model bundled-small-v2 --budget .2 \\
        --steps 60 --seeds 3 --out distillation.jsonl

A bundled model's task is written to a JSONL file once. Each seed searches twice on the same rows: with their answers,
and without, where what the unreduced model writes stands for them. Both operators, deployed, are then asked the same
held-out questions and judged by the answers. One line of JSON a search; what stands there is not run again. Scores of
single questions are kept, so that differences are paired; the interval is a bootstrap over questions of the mean over
seeds, and says nothing of other seeds, which the single rows show.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eos_platform.analysis.comparison.differences import paired_p
from eos_platform.analysis.experiments.own_data.export import export
from eos_platform.analysis.stats.intervals import paired_difference
from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_writable
from eos_platform.models.bundled import MODELS
from eos_platform.protocols import Split
from eos_platform.search.config import SearchConfig
from eos_platform.search.portfolio.find import find
from eos_platform.tasks import evaluate, load_workload
from eos_platform.tasks.choice import open_task
from eos_platform.tasks.on_task import OnTask
from eos_platform.tasks.scenes.scene import CONFIGS
from eos_platform.tasks.scenes.task import Scenes

WAYS = {"with": "given", "without": "none"}  # answers
Row = Mapping[str, Any]


def measure(
    model: str, settings: Mapping[str, Any], seeds: int, questions: Mapping[Split, int], done: Sequence[Row]
) -> Iterator[Row]:
    """The unreduced model, and two searches a seed, but for what is done.

    Raises:
        EosError: settings that cannot be, or a budget that nothing reaches.
    """
    known = {(row["way"], row["seed"]) for row in done if row["model"] == model}
    wanted = [("unreduced", 0), *((way, seed) for seed in range(seeds) for way in WAYS)]
    if all(one in known for one in wanted):
        return
    with tempfile.TemporaryDirectory() as folder:
        data = str(export(task_of(model), Path(folder), questions))
        subjects = _subjects(model, data)
        for way, seed in wanted:
            if (way, seed) in known:
                continue
            begun = time.monotonic()
            row: dict[str, Any] = {"model": model, "way": way, "seed": seed, "settings": dict(settings)}
            operator = None
            if way in WAYS:
                config = SearchConfig.of({**settings, "seed": seed}, "--set")
                result = find(subjects[way], config)
                operator = result.operator
                row |= {"compute_ratio": result.compute_ratio, "seconds": time.monotonic() - begun}
            scores = evaluate(subjects["with"], operator, "heldout", questions["heldout"]).scores
            yield row | {"accuracy": float(scores.mean()), "scores": [round(float(one), 6) for one in scores]}


def task_of(model: str) -> Any:
    """The task that a bundled model was trained on, its pictures of sizes that suit it.

    Raises:
        EosError: it is no bundled one.
    """
    if model not in MODELS:
        raise EosError(f"--model: a bundled model is expected, one of {', '.join(MODELS)}, not {model}")
    name = MODELS[model].task
    loaded = load_workload(model, device="cpu")
    if name == "scenes":
        return Scenes().of_grid(min(CONFIGS, key=lambda side: abs(side - loaded.target.grid[0])))
    assert isinstance(loaded, OnTask)
    return loaded.on  # of sizes that suit the model


def _subjects(model: str, data: str) -> dict[str, OnTask]:
    """One model, its rows with answers and without."""
    first = load_workload(model, {"name": "files", "data": data})
    assert isinstance(first, OnTask)
    none = open_task({"name": "files", "data": data, "answers": WAYS["without"]})
    return {"with": first, "without": OnTask(first.model, first.processor, none, name=model)}


def table(rows: Sequence[Row]) -> str:
    """Markdown: a line a model; accuracies in per cent of the held-out questions, what is lost in points."""
    lines = [
        "| model | questions | budget | steps | seeds | unreduced | with answers | without | lost, 95 % | p |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == model]
        of = {way: {row["seed"]: row for row in mine if row["way"] == way} for way in ("unreduced", *WAYS)}
        seeds = sorted(set(of["with"]) & set(of["without"]))
        if not seeds:
            continue
        means = {way: np.mean([of[way][seed]["scores"] for seed in seeds], axis=0) for way in WAYS}
        gap, low, high = paired_difference(means["with"], means["without"])
        settings = of["with"][seeds[0]]["settings"]
        whole = f"{100 * of['unreduced'][0]['accuracy']:.1f}" if of["unreduced"] else ""
        spread = {way: [f"{100 * of[way][seed]['accuracy']:.1f}" for seed in seeds] for way in WAYS}
        cells = [model, f"{len(means['with']):,}", f"{settings['budget']:g}", str(settings["steps"]), str(len(seeds))]
        cells += [whole, *(f"{100 * means[way].mean():.1f} ({', '.join(spread[way])})" for way in WAYS)]
        cells += [f"{100 * gap:+.1f} ({100 * low:+.1f} .. {100 * high:+.1f})"]
        cells += [f"{paired_p(means['without'], means['with']):.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """See the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled-small-v2", help="a bundled model")
    parser.add_argument("--budget", type=float, default=0.2)
    parser.add_argument("--steps", type=int, default=480)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the search")
    parser.add_argument("--search", type=int, default=4096, help="questions of the search split")
    parser.add_argument("--validation", type=int, default=512)
    parser.add_argument("--heldout", type=int, default=2048)
    parser.add_argument("--out", type=Path, default=Path("distillation.jsonl"))
    given = parser.parse_args(words)
    check_writable(given.out)
    settings: dict[str, Any] = {"budget": given.budget, "steps": given.steps}
    settings |= {key: strict_json.loads(value, key) for key, _, value in (one.partition("=") for one in given.set)}
    settings |= {"search_questions": given.search, "eval_questions": given.validation}
    rows = _read(given.out)
    questions: dict[Split, int] = {"search": given.search, "validation": given.validation, "heldout": given.heldout}
    for row in measure(given.model, settings, given.seeds, questions, rows):
        rows.append(row)
        with given.out.open("a") as stream:
            stream.write(strict_json.dumps(strict_json.plain(row)) + "\n")
        terminal.say(f"{row['model']}, {row['way']}, seed {row['seed']}: {100 * row['accuracy']:.1f} %", stderr=True)
    terminal.say(table(rows))


def _read(path: Path) -> list[Row]:
    return [strict_json.loads(line, str(path)) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
