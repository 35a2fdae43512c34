"""What an lmms-eval run left, read back: its scores by name, and the official ones beside where the two differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eos_platform.common import strict_json
from eos_platform.common.boundary import reading
from eos_platform.common.errors import EosError
from eos_platform.common.files import MEGABYTE, open_regular, read_text, shown_path
from eos_platform.tasks.benchmarks.yes_no import first_four, said
from eos_platform.tasks.metrics import text
from eos_platform.tasks.metrics.registry import summary

Official = Callable[[Sequence[tuple[str, list[str]]]], dict[str, float]]


@dataclass(frozen=True)
class Results:
    """One task of a run.

    Attributes:
        task: by lmms-eval's name.
        theirs: its scores, by metric.
        official: by the benchmark's own rules, from the same answers; empty: not known from what it keeps.
        answers: of each question, by ``doc_id``.
    """

    task: str
    theirs: Mapping[str, float]
    official: Mapping[str, float]
    answers: Mapping[int, str]


def read_results(folder: Path) -> list[Results]:
    """The latest results below a folder.

    Raises:
        EosError: there are none: the evaluation failed, whatever its exit status was.
    """
    files = sorted(folder.rglob("*_results.json"), key=lambda path: path.stat().st_mtime)
    if not files:
        raise EosError(
            f"lmms-eval left no results in {shown_path(folder)}: the evaluation failed (its exit status is 0)"
        )
    with reading(f"lmms-eval's results {shown_path(files[-1])}"):
        read = strict_json.loads(_no_nan(read_text(files[-1], "results")))["results"]
        scores = {task: _numbers(values) for task, values in read.items()}
    stamp = files[-1].name.removesuffix("_results.json")
    results = []
    for task, theirs in scores.items():
        rows = _samples(files[-1].with_name(f"{stamp}_samples_{task}.jsonl"))
        answered = {number: answer for number, answer, _ in rows}
        official = _official(task, [(answer, golds) for _, answer, golds in rows]) if rows else {}
        results.append(Results(task, theirs, official, answered))
    return results


@dataclass(frozen=True)
class Beside:
    """A task of a run beside the same task of the unreduced model's.

    Attributes:
        of_unreduced: each score, theirs and official, in per cent of the unreduced model's; of those above 0 alone.
        same: questions answered word for word as the unreduced model does.
        asked: questions that both were asked.
    """

    of_unreduced: Mapping[str, float]
    same: int
    asked: int


def beside(reduced: Results, whole: Results) -> Beside:
    """One run's task against another's."""
    scores = {**whole.theirs, **{f"official {key}": value for key, value in whole.official.items()}}
    mine = {**reduced.theirs, **{f"official {key}": value for key, value in reduced.official.items()}}
    shares = {
        key: 100 * mine[key] / value
        for key, value in scores.items()
        if key in mine and value > 0 and "stderr" not in key
    }
    both = reduced.answers.keys() & whole.answers.keys()
    return Beside(shares, sum(reduced.answers[one] == whole.answers[one] for one in both), len(both))


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Of a task's entries those that are scores: "metric,filter"."""
    return {key: value for key, value in values.items() if isinstance(value, (int, float)) and "," in key}


def _no_nan(content: str) -> str:
    """Their JSON may hold NaN."""
    return json.dumps(json.loads(content, parse_constant=lambda _: None))


def _samples(path: Path) -> list[tuple[int, str, list[str]]]:
    """Number, answer and right answers of each question, where samples were logged."""
    if not path.exists():
        return []
    rows = []
    with open_regular(path, "samples", 4096 * MEGABYTE) as stream, reading(f"samples {shown_path(path)}"):
        for line in stream:
            row = json.loads(line)
            response = row["filtered_resps"]
            while isinstance(response, list):
                response = response[0] if response else ""
            rows.append((int(row["doc_id"]), str(response), [str(one) for one in _list(row["target"])]))
    return rows


def _list(target: Any) -> list[Any]:
    return target if isinstance(target, list) else [target]


def _mean(measure: Callable[[str, list[str]], float]) -> Official:
    return lambda rows: {"accuracy": sum(measure(answer, golds) for answer, golds in rows) / len(rows)}


def _pope(rows: Sequence[tuple[str, list[str]]]) -> dict[str, float]:
    """All categories as one: what lmms-eval keeps does not tell them apart."""
    golds = [golds[0].strip().lower() for _, golds in rows]
    right = [float(said(answer) == gold) for (answer, _), gold in zip(rows, golds, strict=True)]
    return dict(summary(right, golds))


def _mme(rows: Sequence[tuple[str, list[str]]]) -> dict[str, float]:
    right = [float(first_four(answer) == golds[0].strip().lower().rstrip(".")) for answer, golds in rows]
    return {"accuracy": sum(right) / len(right)}


def _gqa(answer: str, golds: list[str]) -> float:
    return float(answer.strip().rstrip(".").lower() == golds[0].lower())


def _contained(answer: str, golds: list[str]) -> float:
    said_ = answer.lower().strip().replace("\n", " ")
    return float(any(one.lower().strip().replace("\n", " ") in said_ for one in golds))


OFFICIAL: dict[str, Official] = {
    "pope": _pope,
    "mme": _mme,
    "gqa": _mean(_gqa),
    "chartqa": _mean(text.relaxed),
    "docvqa": _mean(text.anls),
    "infovqa": _mean(text.anls),
    "ocrbench": _mean(_contained),
}


def _official(task: str, rows: Sequence[tuple[str, list[str]]]) -> dict[str, float]:
    name = next((name for name in sorted(OFFICIAL, key=len, reverse=True) if task.lower().startswith(name)), None)
    return OFFICIAL[name](rows) if name else {}
