"""``eos data``: what was understood of your data, before anything is searched on it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated, Any

import typer

from eos_platform.cli.options import AllowBad, Chat, Missing, Options, Trust, task_of
from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_writable, write_atomic
from eos_platform.common.printable import printable

data_app = typer.Typer(
    no_args_is_help=True,
    help="Your own questions: check how they are read, and show what a model is asked.\n\n"
    "Example: [bold]eos data check my.jsonl[/bold]",
)
Source = Annotated[
    str, typer.Argument(metavar="DATA", help="A JSONL, JSON, CSV, TSV, Parquet or tar file, or a folder.")
]
REPORT, SHEET, BAD = "report.json", "examples.png", "bad.txt"


@data_app.command("check")
def check(
    data: Source,
    allow_bad: AllowBad = None,
    options: Options = None,
    examples: Annotated[int, typer.Option(min=0, max=100, help="Number of questions shown in examples.png.")] = 10,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for report.json, examples.png and bad.txt.")
    ] = Path("eos-data-check"),
) -> None:
    """Read every row, decode every picture, and report how they were read and what cannot be used.

    Exits with 2 if more rows are bad than --allow-bad permits.

    Example: [bold]eos data check my.jsonl --allow-bad 1%[/bold]
    """
    from eos_platform.protocols import SPLITS
    from eos_platform.tasks.data.inspect.report import Checked, report
    from eos_platform.tasks.data.inspect.sheet import sheet, spread
    from eos_platform.terminal.data_bar import data_bar

    chosen = _files(data, allow_bad, options)
    for name in (REPORT, SHEET, BAD):
        check_writable(out / name)
    allowed = float(chosen.pop("allow_bad", 0.0))
    console = terminal.console()
    with data_bar(console):
        task = Checked(**{**chosen, "allow_bad": 1.0})
    result = report(task)
    _show(console, result)
    write_atomic(out / REPORT, strict_json.dumps(result, indent=2) + "\n")
    write_atomic(out / BAD, "".join(f"{line}\n" for line in task.bad))
    written = [REPORT, BAD]
    questions = [one for split in SPLITS if task.loaded.rows for one in task.all(split)]
    if questions and examples:
        stream = io.BytesIO()
        sheet(spread(questions, examples)).save(stream, "PNG")
        write_atomic(out / SHEET, stream.getvalue())
        written.append(SHEET)
    terminal.stored()
    console.print(f"wrote {', '.join(str(out / name) for name in written)}", soft_wrap=True, markup=False)
    if len(task.bad) > allowed * task.loaded.total:
        raise task.too_many()
    if not task.loaded.rows:
        raise EosError(f"{data}: no questions")


@data_app.command("show")
def show(
    data: Source,
    number: Annotated[int, typer.Argument(min=1, help="Number of the question, counted from 1 in the data's order.")],
    model: Annotated[str, typer.Option(help="A bundled model or a model folder, whose processor makes the prompt.")],
    options: Options = None,
    allow_bad: AllowBad = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Path of the picture to write.")] = Path(
        "eos-data-show.png"
    ),
    trust_remote_code: Trust = False,
    allow_missing: Missing = False,
    chat: Chat = None,
) -> None:
    """Show one question as the model gets it: text with placeholders, picture, token ids, and where the answer is.

    Example: [bold]eos data show my.jsonl 17 --model bundled[/bold]
    """
    from eos_platform.tasks.data.inspect.shown import shown_prompt
    from eos_platform.tasks.files import Files

    chosen = _files(data, allow_bad, options)
    check_writable(out)
    result = shown_prompt(Files(**chosen), number, model, trust_remote_code, chat)
    stream = io.BytesIO()
    result.picture.save(stream, "PNG")
    write_atomic(out, stream.getvalue())
    console = terminal.console()
    for line in result.lines:
        console.print(printable(line), soft_wrap=True, markup=False, highlight=False)
    console.print(f"wrote {out}", soft_wrap=True, markup=False)


def _files(data: str, allow_bad: str | None, options: list[str] | None) -> dict[str, Any]:
    chosen = task_of("files", data, allow_bad, "", options)
    assert isinstance(chosen, dict)
    return {key: value for key, value in chosen.items() if key != "name"}


def _show(console: Any, result: dict[str, Any]) -> None:
    """The report as a person reads it."""

    def say(text: str) -> None:
        console.print(printable(text), soft_wrap=True, markup=False, highlight=False)

    say(
        f"{result['data']}: {result['format']}, {result['rows']:,} rows, "
        f"{result['usable']:,} usable, {result['bad']:,} bad"
    )
    sizes = result["sizes"]
    say(
        f"pictures: {result['pictures']:,} different, {result['copies']:,} copies, {sizes['different']:,} sizes"
        + (f" from {sizes['smallest']} to {sizes['largest']}" if sizes["different"] else "")
        + (f"; {result['several_pictures']:,} questions about several" if result["several_pictures"] else "")
        + (f"; {result['films']:,} films" if result["films"] else "")
    )
    for split, counts in result["splits"].items():
        say(f"  {split}: {counts['questions']:,} questions about {counts['pictures']:,} pictures")
    say("groups: " + _listed(result["groups"].items()))
    answers = result["answers"]
    say(
        f"answers: {answers['different']:,} different, {answers['rows_without']:,} rows without"
        + (f"; most frequent: {_listed(answers['most_frequent'])}" if answers["different"] else "")
    )
    say(f"metric: {result['metric']} ({result['metric_why']})")
    for remark in result["remarks"]:
        say(f"note: {remark}")
    for kind, one in result["bad_by_reason"].items():
        say(f"bad: {one['rows']:,} rows: {kind}")
        for line in one["first"]:
            say(f"  {line}")


def _listed(pairs: Any, most: int = 8) -> str:
    pairs = list(pairs)
    reported = ", ".join(f"{name} {count:,}" for name, count in pairs[:most])
    return reported + (f" and {len(pairs) - most:,} more" if len(pairs) > most else "")
