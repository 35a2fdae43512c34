"""Every design on every bundled model, at equal compute: accuracies, the ``detail`` subset, mean ranks.

    python -m eos_platform.analysis.experiments.designs_table --out rows --questions 512
    python -m eos_platform.analysis.experiments.designs_table --out rows --models bundled-small --designs tops,random \
        --ratios .1 --questions 16                                                   # a small try on a CPU

One process a model measures side by side with the others and appends a line of JSON to ``OUT/MODEL.jsonl`` as soon as a
cell is done; the same command again goes on where it was stopped. ``--seconds`` ends measuring in time for the table.
Ratios are measured in the order given, so that what is cut short is whole for the first ones. A design that a model
refuses, or that has no form at a ratio, has its reason for a row. ``--tune N`` tries N random sets of each design's
knobs, too, on questions of the search split, and asks the best the held-out ones. ``--table`` prints what is there.
Operators that act or read in the vision tower are asked from the pictures on where a task keeps its pictures encoded. A
design that divides a feature by what is usual at its place has that measured, on the search split, for every cell.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eos_platform.analysis.experiments.designs_report import report
from eos_platform.analysis.experiments.from_pictures import evaluated
from eos_platform.analysis.explain.position_prior import debiased
from eos_platform.analysis.stats.bitpack import pack
from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import write_atomic
from eos_platform.costs.flops import compute_ratio
from eos_platform.costs.match import match
from eos_platform.models.adapters.target import absent_of, check_fits, parts_of
from eos_platform.models.bundled import MODELS
from eos_platform.operators.designs import Design, get_design, suited
from eos_platform.operators.designs.base import Value
from eos_platform.operators.rescale import rescale
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks import load_workload
from eos_platform.tasks.base import Subject

RATIOS = (0.1, 0.2, 0.05, 0.3, 0.15)
POSITIONS = "positions are kept"  # a change that leaves the method what it is
TUNING = 256  # questions of the search split that one set of knobs is tried on
COLUMNS = (
    "model", "task", "design", "variant", "ratio", "accuracy", "detail", "questions", "detail_questions",
    "compute_ratio", "mean_tokens", "tokens_left", "stand_in",
)  # fmt: skip
Row = dict[str, Any]


def cells(designs: Sequence[str], ratios: Sequence[float], tune: int) -> Iterator[tuple[str, str, float | None]]:
    """(design, variant, ratio) of every row, in the order they are measured; no design: the unreduced model."""
    yield "", "", None
    for name in designs:
        if get_design(name).fixed:
            yield name, "published", None
    for variant in ("published", "tuned")[: 1 + (tune > 0)]:
        for ratio in ratios:
            for name in designs:
                if not get_design(name).fixed:
                    yield name, variant, ratio


def measure(subject: Subject, design: str, variant: str, ratio: float | None, questions: int, tune: int) -> Row:
    """One row.

    Raises:
        EosError: the model refuses the design, or no form of it meets the ratio.
    """
    operator, knobs = _built(subject, design, variant, ratio, tune)
    changes: tuple[str, ...] = ()
    if operator is not None:
        operator, changes = fitted(subject, operator)
        check_fits(parts_of(subject.model), operator)
        if design and get_design(design).prior_of:
            operator = debiased(subject, operator, get_design(design).prior_of)
    started = time.monotonic()
    evaluation = evaluated(subject, operator, "heldout", questions)
    spec = operator or OperatorSpec(target=subject.target)
    return {
        "accuracy": evaluation.accuracy,
        "detail": evaluation.per_skill.get("detail"),
        "detail_questions": int(evaluation.subsets["detail"].sum()) if "detail" in evaluation.subsets else 0,
        "questions": evaluation.questions,
        "correct": pack(evaluation.scores),
        "compute_ratio": float(compute_ratio(spec, subject.shape, subject.text_tokens)),
        "mean_tokens": spec.mean_tokens,
        "tokens_left": spec.tokens_left,
        "knobs": knobs,
        "changes": list(changes),
        "stand_in": any(POSITIONS not in change for change in changes),
        "seconds": round(time.monotonic() - started, 3),
    }


def fitted(subject: Subject, operator: OperatorSpec) -> tuple[OperatorSpec, tuple[str, ...]]:
    """An operator with what the model does not give replaced, as ``eos rescale`` does, and what was changed.

    Positions of several axes are kept; where the vision tower is not read, the norm stands in for the class token's
    attention, and tokens are compared by themselves: then it is no longer the method, and such rows are not ranked.
    """
    parts = parts_of(subject.model)
    one_axis, absent = parts.family is None or parts.family.axes == 1, absent_of(parts)
    if one_axis and not absent:
        return operator, ()
    done = rescale(operator, operator.target, positions=one_axis, absent=absent)
    return done.operator, done.changes


def _built(
    subject: Subject, design: str, variant: str, ratio: float | None, tune: int
) -> tuple[OperatorSpec | None, dict[str, Value]]:
    if not design:
        return None, {}
    made = get_design(design)
    if ratio is None:
        return made.build(subject.target, subject.target.tokens), {}
    knobs = _tuned(subject, made, ratio, tune) if variant == "tuned" else {}
    return match(made, ratio, subject.target, subject.shape, subject.text_tokens, **knobs), knobs


def _tuned(subject: Subject, design: Design, ratio: float, tries: int) -> dict[str, Value]:
    """The knobs that answer most questions of the search split; the published ones are tried first and win ties."""
    draw, best, found = random.Random(f"{design.name} {ratio:g}"), -1.0, dict[str, Value]()
    for number in range(tries):
        knobs = {} if number == 0 else {knob.name: _drawn(knob, draw) for knob in design.knobs(subject.target)}
        try:
            operator = match(design, ratio, subject.target, subject.shape, subject.text_tokens, **knobs)
            operator, _ = fitted(subject, operator)
            check_fits(parts_of(subject.model), operator)
        except EosError:
            continue
        accuracy = evaluated(subject, operator, "search", TUNING).accuracy
        if accuracy > best:
            best, found = accuracy, knobs
    return found


def _drawn(knob: Any, draw: random.Random) -> Value:
    if knob.choices:
        return draw.choice(knob.choices)
    share = draw.random()
    value = knob.low * (knob.high / knob.low) ** share if knob.log else knob.low + share * (knob.high - knob.low)
    return round(value) if isinstance(knob.default, int) else value


def measure_model(model: str, given: argparse.Namespace, deadline: float) -> None:
    """Append the rows of one model that are not there yet, until the deadline (of ``time.time``)."""
    path: Path = given.out / f"{model}.jsonl"
    rows = read(path)
    if path.exists():  # without a line cut short, which the next would run into
        write_atomic(path, "".join(strict_json.dumps(row) + "\n" for row in rows))
    known = {_key(row) for row in rows}
    task = given.task or (MODELS[model].task if model in MODELS else "scenes-v2")
    subject = load_workload(model, task, given.device)
    with path.open("a", encoding="utf-8") as file:
        for design, variant, ratio in cells(given.designs, given.ratios, given.tune):
            row: Row = {"model": model, "task": task, "design": design, "variant": variant, "ratio": ratio}
            if _key(row) in known:
                continue
            if time.time() > deadline:
                terminal.say(f"{model}: out of time; run the same command to resume", stderr=True)
                return
            try:
                row |= measure(subject, design, variant, ratio, given.questions, given.tune)
            except EosError as error:
                row["reason"] = str(error)
            except RuntimeError as error:  # out of memory, say: the other designs are measured all the same
                row["reason"] = f"failed: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
            file.write(strict_json.dumps(strict_json.plain(row)) + "\n")
            file.flush()
    terminal.say(f"{model}: done", stderr=True)


def as_csv(rows: Sequence[Row]) -> str:
    """The numbers without each question's answer, as text; what was refused has its reason."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow((*COLUMNS, "knobs", "changes", "reason"))
    for row in rows:
        values = [row.get(name) for name in COLUMNS]
        knobs = ", ".join(f"{name} {value}" for name, value in (row.get("knobs") or {}).items())
        cells = [f"{value:.5g}" if isinstance(value, float) else value for value in values]
        table.writerow((*cells, knobs, "; ".join(row.get("changes") or ()), row.get("reason")))
    return stream.getvalue()


def read(path: Path) -> list[Row]:
    """The rows of a file; a last line cut short is left out."""
    rows: list[Row] = []
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(strict_json.loads(text))
            except strict_json.NotJson:
                continue
    return rows


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["design"], row["variant"], row["ratio"]


def main(words: list[str] | None = None) -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the rows")
    parser.add_argument("--models", type=_texts, default=list(MODELS), help="with commas between; default: all bundled")
    parser.add_argument("--task", help="default: what each bundled model was trained on")
    parser.add_argument("--designs", type=_texts, default=list(suited()), help="with commas between; default: all")
    parser.add_argument("--ratios", type=_ratios, default=RATIOS, help="with commas between")
    parser.add_argument("--questions", type=int, default=512, help="held-out questions")
    parser.add_argument("--tune", type=int, default=0, metavar="N", help="random sets of knobs for every cell")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no cell begins later")
    parser.add_argument("--device", help="default: the GPU if there is one")
    parser.add_argument("--table", action="store_true", help="measure nothing, print what is there")
    parser.add_argument("--csv", type=Path, help="where the numbers go as a table, too")
    parser.add_argument("--one", action="store_true", help="measure in this process, and print no table")
    given = parser.parse_args(words)
    try:
        for name in given.designs:
            get_design(name)
        given.out.mkdir(parents=True, exist_ok=True)
        if given.one:
            for model in given.models:
                measure_model(model, given, time.time() + given.seconds)
            return 0
        failed = [] if given.table else _side_by_side(given, sys.argv[1:] if words is None else words)
        rows = [row for model in given.models for row in read(given.out / f"{model}.jsonl")]
        if given.csv is not None:
            write_atomic(given.csv, as_csv(rows))
        terminal.say(report(rows))
    except EosError as error:
        terminal.say(f"designs_table: {error}", stderr=True)
        return 2
    if failed:
        terminal.say(f"designs_table: no end was reached of {', '.join(failed)} (see above)", stderr=True)
    return bool(failed)


def _side_by_side(given: argparse.Namespace, words: Sequence[str]) -> list[str]:
    """A process a model; the models whose process failed."""
    started, module = time.time(), "eos_platform.analysis.experiments.designs_table"
    processes = {}
    for model in given.models:
        seconds = max(0.0, given.seconds - (time.time() - started))
        command = [sys.executable, "-m", module, *words, "--models", model, "--one"]
        command += [] if seconds == float("inf") else ["--seconds", f"{seconds:.0f}"]
        processes[model] = subprocess.Popen(command)
    return [model for model, process in processes.items() if process.wait() != 0]


def _texts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _ratios(text: str) -> list[float]:
    return [float(part) for part in _texts(text)]


if __name__ == "__main__":
    terminal.run(main)
