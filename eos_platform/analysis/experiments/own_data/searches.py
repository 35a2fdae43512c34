"""A short search on a JSONL file with pictures of several sizes, for each bundled model or any model's folder.

    python -m eos_platform.analysis.experiments.own_data.searches --steps 20 --questions 128

Questions of a bundled model's own task are written to files, their pictures resized in turn; a folder's model is asked
what ``--data`` holds. Says what the search met (sizes, visual tokens of a picture) and what came of it. So few steps
show that a search runs and keeps its budget, not how good an operator can be.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eos_platform.analysis.experiments.own_data.distillation import task_of
from eos_platform.analysis.experiments.own_data.export import export
from eos_platform.common import console as terminal
from eos_platform.models.bundled import MODELS
from eos_platform.protocols import SPLITS
from eos_platform.search.config import SearchConfig
from eos_platform.search.portfolio.find import find
from eos_platform.tasks import evaluate, load_workload
from eos_platform.tasks.files import Files
from eos_platform.tasks.on_task import OnTask

SIZES = ((168, 168), (112, 224), (280, 168), (336, 336))  # width, height
COLUMNS = ("model", "sizes", "visual tokens", "questions", "ratio", "budget", "unreduced", "searched", "seconds")


def measure(model: str, data: str, settings: Mapping[str, Any], questions: int) -> dict[str, Any]:
    """One search, and both of its ends on held-out questions.

    Args:
        model: a bundled one, or a folder.
        data: the rows.
        settings: of the search.
        questions: held-out ones that are asked.

    Raises:
        EosError: rows, a model or settings that cannot be.
    """
    subject = load_workload(model, {"name": "files", "data": data}, "cpu")
    assert isinstance(subject, OnTask)
    assert isinstance(subject.on, Files)
    begun = time.monotonic()
    result = find(subject, SearchConfig.of(dict(settings), "--set"))
    seconds = time.monotonic() - begun
    looks = {look.digest: (look.width, look.height) for row in subject.on.loaded.rows for look in row.looks}
    encoded = subject.encoded("search", int(settings["search_questions"]))
    tokens = [sum(rows * columns * many for (rows, columns), many in units) for units in encoded.groups]
    whole, reduced = (evaluate(subject, one, "heldout", questions) for one in (None, result.operator))
    return {
        "model": Path(model).name,
        "sizes": len(set(looks.values())),
        "visual tokens": f"{min(tokens)} .. {max(tokens)}" if len(set(tokens)) > 1 else str(tokens[0]),
        "questions": whole.questions,
        "ratio": result.compute_ratio,
        "budget": float(settings["budget"]),
        "unreduced": whole.accuracy,
        "searched": reduced.accuracy,
        "seconds": seconds,
    }


def of_bundled(model: str, settings: Mapping[str, Any], questions: int) -> dict[str, Any]:
    """The same on questions of a bundled model's own task, written to files with pictures of ``SIZES``."""
    counts = dict(
        zip(SPLITS, (int(settings["search_questions"]), int(settings["eval_questions"]), questions), strict=True)
    )
    with tempfile.TemporaryDirectory() as folder:
        return measure(model, str(export(task_of(model), Path(folder), counts, SIZES)), settings, questions)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown, accuracies in per cent."""
    lines = [f"| {' | '.join(COLUMNS)} |", "| --- " + "| ---: " * (len(COLUMNS) - 1) + "|"]
    for row in rows:
        shown = {key: f"{100 * row[key]:.1f} %" for key in ("unreduced", "searched")}
        shown |= {"ratio": f"{row['ratio']:.3f}", "budget": f"{row['budget']:g}", "seconds": f"{row['seconds']:.0f}"}
        lines.append(f"| {' | '.join(str(shown.get(key, row[key])) for key in COLUMNS)} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """See the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS), help="bundled ones or folders, with commas between")
    parser.add_argument("--data", help="rows for all of them; default: a bundled model's own task")
    parser.add_argument("--budget", type=float, default=0.3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--questions", type=int, default=128, help="of each split")
    given = parser.parse_args(words)
    settings = {"budget": given.budget, "steps": given.steps, "batch_size": given.batch, "portfolio": False}
    settings |= {"search_questions": given.questions, "eval_questions": given.questions}
    rows = []
    for model in given.models.split(","):
        one = measure(model, given.data, settings, given.questions) if given.data else None
        rows.append(one or of_bundled(model, settings, given.questions))
        terminal.say(table(rows[-1:]).splitlines()[-1], stderr=True)
    terminal.say(table(rows))


if __name__ == "__main__":
    main()
