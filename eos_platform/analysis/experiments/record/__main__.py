"""The field's tables of token reduction, by one command, on a machine with the weights and the benchmarks.

    python -m eos_platform.analysis.experiments.record --root downloads --model llava-1.5-7b=models/llava-1.5-7b-hf \\
        --model qwen2.5-vl-7b=models/Qwen2.5-VL-7B-Instruct --out record --dry-run

What is measured is pinned (``plan.json`` beside this module; ``--plan`` takes another): LLaVA-1.5-7B and Qwen2.5-VL-7B
at 192, 128, 64 and 16 mean visual tokens, with searched operators, every design (random and downsampling among them)
and none, over the benchmarks that papers print. First the unreduced model is asked and held against published scores;
where one is farther off than the plan allows, nothing else is asked. Operators are searched on data of their own,
without any picture of a benchmark. Answers, searches and operators are kept as they come: the same command goes on
where it stopped.
``OUT/MODEL/record.md`` has tables of what was run, and says what was not.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from eos_platform.analysis.experiments.record.plan import Plan, load_plan
from eos_platform.analysis.experiments.record.report import dry_run, markdown, table_csv
from eos_platform.analysis.experiments.record.work import Outcome, Record
from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError, unknown
from eos_platform.common.files import check_writable, write_atomic
from eos_platform.models.bundled import MODELS

PAGE, NUMBERS = "record.md", "table.csv"


def main(words: Sequence[str] | None = None) -> None:
    """See the module's first lines.

    Raises:
        EosError: something that the plan needs is missing, or the unreduced model does not answer as published.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--root", type=Path, required=True, help="holds a folder for each benchmark, and what to search on"
    )
    parser.add_argument("--model", action="append", default=[], metavar="NAME=FOLDER", help="default: ROOT/models/NAME")
    parser.add_argument("--only", help="models of the plan, with commas between; default: all")
    parser.add_argument("--plan", type=Path, help="another plan, a JSON file")
    parser.add_argument("--out", type=Path, default=Path("record"))
    parser.add_argument("--dry-run", action="store_true", help="list what would be done, downloads, time and disk")
    parser.add_argument("--limit", type=int, help="questions of each benchmark, at most, for a try")
    parser.add_argument("--batch", type=int, default=16, help="questions at a time")
    parser.add_argument("--device", help="default: the GPU if there is one")
    parser.add_argument("--go-on", action="store_true", help="even if the unreduced scores are not the published ones")
    parser.add_argument("--rate", type=float, default=10.0, help="for --dry-run: questions answered a second")
    parser.add_argument("--step-seconds", type=float, default=1.5, help="for --dry-run: of a search's step")
    given = parser.parse_args(words)
    plan = load_plan(given.plan)
    models = _models(plan, given.model, given.only, given.root)
    if given.dry_run:
        for line in dry_run(plan, models, given.root, given.rate, given.step_seconds, given.limit):
            terminal.say(line)
        return
    failed = []
    for model, folder in models.items():
        check_writable(given.out / model / PAGE)
        record = Record(
            plan, model, folder, given.root, given.out, batch=given.batch, limit=given.limit, device=given.device,
            say=_say,
        )  # fmt: skip
        record.check()
        _write(plan, record.outcome, given.out)
        if record.outcome.checked and not record.outcome.sound and not given.go_on:
            failed.append(_unlike(record.outcome))
            continue
        _write(plan, record.measure(), given.out)
        _say(f"wrote {given.out / model / PAGE} and {given.out / model / NUMBERS}")
    if failed:
        raise EosError(
            "; ".join(failed) + "; nothing reduced was asked (--go-on asks all the same, and claims nothing)"
        )


def _models(plan: Plan, given: Sequence[str], only: str | None, root: Path) -> dict[str, str]:
    """Folders by the plan's names.

    Raises:
        EosError: a name that the plan does not have.
    """
    folders = dict(one.partition("=")[::2] for one in given)
    chosen = only.split(",") if only else list(plan.models)
    for name in (*folders, *chosen):
        if name not in plan.models:
            raise unknown("model", name, plan.models)
    return {name: folders.get(name) or _default(name, root) for name in chosen}


def _default(name: str, root: Path) -> str:
    return name if name in MODELS else str(root / "models" / name)


def _unlike(outcome: Outcome) -> str:
    far = [one for one in outcome.checked if not one["near"]]
    reported = ", ".join(
        f"{one['task']} {one['measured']:.1f} (published {one['published']:g} within {one['within']:g})" for one in far
    )
    return f"{outcome.model} does not answer as published: {reported}"


def _write(plan: Plan, outcome: Outcome, out: Path) -> None:
    write_atomic(out / outcome.model / PAGE, markdown(plan, outcome))
    if outcome.rows:
        write_atomic(out / outcome.model / NUMBERS, table_csv(outcome.rows))


def _say(line: str) -> None:
    terminal.say(line, stderr=True)


def _guarded() -> int:
    try:
        main()
    except EosError as error:
        _say(f"record: {error}")
        return 2
    except KeyboardInterrupt:
        again = shlex.join([sys.executable, "-m", "eos_platform.analysis.experiments.record", *sys.argv[1:]])
        _say(f"record: stopped; what was answered and searched is kept. Resume with: {again}")
        return 130
    return 0


if __name__ == "__main__":
    terminal.run(_guarded)
