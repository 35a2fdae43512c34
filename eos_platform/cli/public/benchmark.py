"""``eos benchmark``: public benchmarks and local tasks, unreduced beside reduced."""

from __future__ import annotations

import csv
import io
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from eos_platform.cli.errors import EXIT_INTERRUPTED
from eos_platform.cli.options import AllowBad, Chat, Data, Missing, Options, Trust, task_of
from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_writable, write_atomic

TABLE, NUMBERS = "table.csv", "numbers.json"


def benchmark(
    model: Annotated[str, typer.Option(help="A bundled model or a model folder, of any family.")],
    operator: Annotated[
        list[Path] | None,
        typer.Option(
            "--operator",
            help="An operator file or models:/NAME@ALIAS; may be repeated. If omitted, only the unreduced model runs.",
        ),
    ] = None,
    tasks: Annotated[str, typer.Option(help="Benchmarks, separated by commas, such as pope,gqa,textvqa.")] = "",
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the downloads: DIR/pope and so on; for a single task, DIR itself."),
    ] = None,
    data: Data = None,
    allow_bad: AllowBad = None,
    options: Options = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only the first N questions of each task.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Batch size.")] = 16,
    out: Annotated[
        Path,
        typer.Option(help="Folder for answers and tables; questions already answered there are skipped."),
    ] = Path("eos-benchmark"),
    device: Annotated[str | None, typer.Option(help="Where to run; default: the GPU if there is one.")] = None,
    trust_remote_code: Trust = False,
    allow_missing: Missing = False,
    chat: Chat = None,
) -> None:
    """Run public benchmarks with their own prompts and metrics, with and without operators.

    Answers are saved as they come: the same command resumes where it stopped.

    Example: [bold]eos benchmark --model M --operator operator.json --tasks pope,gqa --root downloads[/bold]
    """
    from eos_platform.analysis.benchmark.run import run
    from eos_platform.analysis.benchmark.store import model_hash
    from eos_platform.analysis.benchmark.table import average, rows_of, summary_of
    from eos_platform.models.loading.opening import opening
    from eos_platform.models.runtime.operator_source import operator_from
    from eos_platform.tasks.answers.generate import load_pair
    from eos_platform.tasks.chats import published
    from eos_platform.tasks.choice import open_task
    from eos_platform.terminal.data_bar import asking_bar, data_bar

    specs = _named([(path, operator_from(path)) for path in operator or ()])
    chosen = _tasks(tasks, root, options)
    if data is not None:
        chosen.append(task_of("files", data, allow_bad, model, None if tasks else options))
    if not chosen:
        raise EosError("nothing to ask: name benchmarks (--tasks pope,gqa --root DIR), or --data of your own")
    for name in (TABLE, NUMBERS):
        check_writable(out / name)
    console = terminal.console()
    with data_bar(console):
        opened = [open_task(one) for one in chosen]
    loaded, processor = load_pair(
        model, device, trust_remote_code=trust_remote_code, allow_missing=allow_missing
    )  # fmt: skip
    processor = published(processor, chat)
    with opening(model) as folder:
        about = {"model": model_hash(Path(folder)), "dtype": str(loaded.dtype)}
    about |= {"chat": chat} if chat else {}
    rows: list[dict[str, Any]] = []
    numbers: dict[str, Any] = {}
    try:
        with asking_bar(console) as tell:
            for asked in run(loaded, processor, opened, specs, out, about=about, limit=limit, batch=batch, notify=tell):
                rows += rows_of(asked)
                numbers[asked.task.name] = {name: summary_of(asked, name) for name in asked.scores}
    except KeyboardInterrupt:
        again = shlex.join(["eos", *sys.argv[1:]])
        terminal.say(f"eos: stopped; every answer is kept. Resume with: {again}", stderr=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(out / TABLE, stream.getvalue())
    write_atomic(out / NUMBERS, strict_json.dumps(strict_json.plain(numbers), indent=2) + "\n")
    terminal.stored()
    _print(console, rows, average(rows))
    for task, by_operator in numbers.items():
        for name, values in by_operator.items():
            if line := numbers_beside(values):
                console.print(f"{task}, {name}: {line}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"wrote {out / TABLE} and {out / NUMBERS}", soft_wrap=True, markup=False)


def _named(specs: list[tuple[Path, Any]]) -> dict[str, Any]:
    """Operators by the names of their files.

    Raises:
        EosError: two files of one name.
    """
    result: dict[str, Any] = {}
    for path, spec in specs:
        name = path.parent.name if path.stem == "operator" and path.parent.name else path.stem
        name = "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in name)[:60]
        if name in result or name == "unreduced":
            raise EosError(f"--operator {path}: name '{name}' is taken; rename the file")
        result[name] = spec
    return result


def _tasks(tasks: str, root: Path | None, options: list[str] | None) -> list[Any]:
    """Tasks in their normal form.

    Raises:
        EosError: an unknown task, or no folder for it.
    """
    import inspect

    from eos_platform.tasks.registry import TASKS

    names = [name.strip() for name in tasks.split(",") if name.strip()]
    result = []
    for name in names:
        given = list(options or ())
        if "root" in inspect.signature(TASKS.get_named(name)).parameters:
            if root is None:
                raise EosError(f"task '{name}' needs its download: --root DIR, with DIR/{name} in it")
            place = root / name if len(names) > 1 or (root / name).is_dir() else root
            given.append(f"root={place}")
        result.append(task_of(name, None, None, "", given))
    return result


def numbers_beside(values: dict[str, float]) -> str:
    """What a task's numbers say beside the one that the table shows, of yes/no questions and circles; else nothing."""
    shown = {
        "precision": "precision",
        "recall": "recall",
        "f1": "F1",
        "yes_ratio": "said yes to",
        "rows": "single rows",
    }
    if "accuracy" not in values or next(iter(values)) != "accuracy":
        return ""
    return ", ".join(f"{word} {100 * values[key]:.1f} %" for key, word in shown.items() if key in values)


def _print(console: Any, rows: list[dict[str, Any]], means: dict[str, float]) -> None:
    from eos_platform.terminal.tables import plain_table

    right = ("questions", "value", "95 %", "% of unreduced", "95 % of it")
    table = plain_table(left=("task", "number", "operator"), right=right)
    for row in rows:
        table.add_row(
            row["task"],
            row["number"],
            row["operator"],
            f"{row['questions']:,}",
            f"{row['value']:.1f}",
            f"{row['low']:.1f} .. {row['high']:.1f}",
            f"{row['of_unreduced']:.1f}",
            f"{row['of_low']:.1f} .. {row['of_high']:.1f}",
        )
    console.print(table)
    if len({row["task"] for row in rows}) > 1:
        for name, value in means.items():
            console.print(f"{name}: {value:.1f} % of unreduced, the mean over tasks", highlight=False)
