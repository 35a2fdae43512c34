"""How far an engine and the attached model agree: a table of family and operator.

    python -m eos_platform.serve.agreement --model bundled-small --model bundled-qwen --questions 200

Every row is an engine of its own, one at a time; rows that ``--out`` holds already are not made again. Operators are
names of designs (built for a fifth of the tokens), files, or ``unreduced``.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import read_text, write_atomic
from eos_platform.operators.designs import DESIGNS, suited
from eos_platform.operators.spec import OperatorSpec, Target
from eos_platform.serve import sides
from eos_platform.serve.arguments import served
from eos_platform.serve.plan import ServingPlan, Verdict, digest

UNREDUCED = "unreduced"
SHARE = 0.2
CLOSE = 1e-4  # differences of log-probabilities beyond which a question counts as apart


def operator_named(name: str, target: Target) -> OperatorSpec | None:
    """A file, a design for a fifth of the tokens, or None for ``unreduced``."""
    if name == UNREDUCED:
        return None
    if name.endswith(".json"):
        return OperatorSpec.load(name)
    return DESIGNS.get_named(name).build(target, SHARE * target.tokens)


def key_of(model: str, name: str, questions: int, inside: bool = False) -> str:
    """Tells rows apart; of a file its content counts."""
    content = digest(OperatorSpec.load(name)) if name.endswith(".json") else name
    told = [model, content, questions, *(["inside"] if inside else [])]
    return hashlib.sha256(strict_json.dumps(told).encode()).hexdigest()[:16]


def measure(model: str, name: str, questions: int, inside: bool = False) -> dict[str, Any]:
    """One row; of an operator that is not served as it is, why."""
    attached = sides.Attached(model)
    row: dict[str, Any] = {"key": key_of(model, name, questions, inside), "model": model, "operator": name}
    try:
        operator = operator_named(name, attached.target)
    except EosError as error:
        return row | {"refused": str(error)}
    if operator is not None and (plan := ServingPlan.of(operator, inside=inside)).verdict is not Verdict.EXACT:
        return row | {"refused": plan.reasons[0]}
    with tempfile.TemporaryDirectory() as folder:
        path = None if operator is None else operator.save(Path(folder) / "operator.json")
        try:
            found = served(model, path, inside=inside)
        except EosError as error:
            return row | {"refused": str(error)}
        asked = attached.questions(questions)
        began = time.perf_counter()
        theirs = list(attached.answers(asked, operator))
        between = time.perf_counter()
        with sides.engine(found) as llm:
            ready = time.perf_counter()
            ours = sides.by_engine(llm, asked)
            end = time.perf_counter()
    return row | {
        "questions": questions,
        "same answers": sum(a.ids == b.ids for a, b in zip(ours, theirs, strict=True)),
        "largest difference": max(sides.difference(a, b) for a, b in zip(ours, theirs, strict=True)),
        "apart": sum(sides.difference(a, b) > CLOSE for a, b in zip(ours, theirs, strict=True)),
        "prompt tokens": sum(one.prompt for one in ours) / questions,
        "unreduced prompt tokens": sum(one.prompt for one in theirs) / questions,
        "attached s": between - began,
        "start s": ready - between,
        "engine s": end - ready,
    }


def read(out: Path) -> list[dict[str, Any]]:
    """Rows there are."""
    if not out.exists():
        return []
    lines = read_text(out, "table of agreement").splitlines()
    return [strict_json.loads(line, str(out)) for line in lines if line.strip()]


def line_of(row: dict[str, Any]) -> str:
    """A row as text."""
    name = Path(row["operator"]).stem
    if "refused" in row:
        return f"{row['model']:18} {name:28} refused: {row['refused']}"
    tokens = f"{row['unreduced prompt tokens']:.0f} -> {row['prompt tokens']:.0f}"
    answers = f"{row['same answers']} of {row['questions']}"
    apart = str(row.get("apart", "-"))
    return f"{row['model']:18} {name:28} {tokens:>12} {answers:>12} {row['largest difference']:12.1e} {apart:>6}"


def main(arguments: Sequence[str] | None = None) -> None:
    """The table."""
    parser = argparse.ArgumentParser(prog="python -m eos_platform.serve.agreement", description=__doc__)
    parser.add_argument("--model", action="append", help="bundled models or folders; may be repeated")
    parser.add_argument("--operator", action="append", help="designs, files, unreduced; default: all that are served")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--inside", action="store_true", help="serve sites inside the language model as well")
    parser.add_argument("--out", type=Path, default=Path("agreement.jsonl"))
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    models, names = options.model or ["bundled-small"], options.operator or [UNREDUCED, *sorted(suited())]
    if options.one:
        row = measure(models[0], names[0], options.questions, options.inside)
        kept = [one for one in read(options.out) if one["key"] != row["key"]]
        lines = [strict_json.dumps(strict_json.plain(one)) for one in (*kept, row)]
        write_atomic(options.out, "\n".join(lines) + "\n")
        return
    wanted = [(model, name) for model in models for name in names]
    for number, (model, name) in enumerate(wanted):
        key = key_of(model, name, options.questions, options.inside)
        if not any(row["key"] == key for row in read(options.out)):
            terminal.say(f"{number + 1} of {len(wanted)}: {model}, {name}", stderr=True)
            words = ["--model", model, "--operator", name, "--questions", str(options.questions)]
            words += ["--inside"] if options.inside else []
            command = [sys.executable, "-m", __spec__.name, "--one", *words, "--out", str(options.out)]
            # an engine leaves threads and memory behind; a process of its own takes them along
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
                terminal.say(f"{model}, {name}: failed: {''.join(last)[:300]}", stderr=True)
    terminal.say(f"{'model':18} {'operator':28} {'tokens':>12} {'answers':>12} {'log-prob.':>12} {'apart':>6}")
    for row in read(options.out):
        terminal.say(line_of(row))


if __name__ == "__main__":
    terminal.run(main)
