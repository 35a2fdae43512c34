"""``eos transfer``: operators found in some places, used in others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eos_platform.cli.options import Sets
from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_writable, write_atomic

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from eos_platform.analysis.transfer.plan import Settings
    from eos_platform.analysis.transfer.store import Cells

REPORT, TABLE, PAGE = "transfer.md", "transfer.csv", "transfer.html"
EXIT_INTERRUPTED = 130
CALIBRATING = 30  # steps of a search that take as long as a calibration, about


def transfer(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="PLACE...", help="MODEL\\[:TASK]\\[:OPTION=VALUE]...; operators are searched for and tried in each."
        ),
    ],
    operators: Annotated[
        list[Path] | None,
        typer.Option("--operator", help="An operator file (or models:/NAME@ALIAS) to try everywhere; may be repeated."),
    ] = None,
    budgets: Annotated[
        str,
        typer.Option(
            help="Shares of what the unreduced model costs at a place, separated by commas: of its compute, unless the "
            "place names another cost."
        ),
    ] = ".2,.1",
    ways: Annotated[
        str,
        typer.Option(
            help="How operators are transferred: unchanged (the same shares of layers and tokens, whatever they cost "
            "there), zero-shot (rescaled, counts scaled to the budget), carried (learned directions mapped as "
            "well), calibrated (adjusted to the model by its own answers, without labels); adapted, adapted-carried, "
            "adapted-calibrated (a few search steps from there)."
        ),
    ] = "zero-shot,calibrated,adapted-calibrated",
    adapt_steps: Annotated[int, typer.Option(min=4, help="Search steps per adaptation.")] = 40,
    steps: Annotated[int, typer.Option(min=4, help="Steps of each place's own searches.")] = 480,
    seeds: Annotated[
        int, typer.Option(min=0, help="Own searches per place and budget; 0: only try operator files.")
    ] = 1,
    questions: Annotated[int, typer.Option(min=1, help="Held-out questions per cell of the matrix.")] = 2048,
    sets: Sets = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Results folder; a matrix that is already there is resumed.")
    ] = Path("eos-transfer"),
    address: Annotated[
        str | None,
        typer.Option(help="Measure on Ray: local, auto or HOST:PORT of a cluster. Default: in this process."),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Measure in this many processes that share the device (without Ray).")
    ] = 1,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Only write the report of what has been measured.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="Where to run; default: the GPU if there is one.")] = None,
) -> None:
    """Measure how well operators found at one place work at others: on another model, task, image size or device.

    Each place gets its own searches. Their operators are then transferred to every other place at the same budget,
    deployed, and evaluated on the same held-out questions as the searches there. A place is a model, with

    - a task: [bold]bundled-qwen:crowds[/bold]; default: the one that a bundled model was trained on,

    - options of the task: [bold]bundled-qwen:sizes=448[/bold] (pictures of 448 x 448 pixels),
    [bold]bundled-qwen:sizes=448x252,336x336[/bold], [bold]bundled-qwen:crowds:side=448[/bold],

    - a device: [bold]bundled-small:device_profile=laptop.json:cost_batch=16[/bold]. Budgets are then shares of the
    unreduced model's prefill time there, which the profile predicts (eos profile makes one). Where the device is
    this one, times are measured as well, after everything else. cost, cost_mode and cost_answer are as in a search.

    Example: [bold]eos transfer bundled-small bundled-small-v2 bundled-onevision --budgets .2,.1[/bold]

    Example: [bold]eos transfer bundled-qwen:sizes=224 bundled-qwen:sizes=448 --ways unchanged,zero-shot[/bold]
    """
    from eos_platform.analysis.comparison.settings import parse_ratios, parse_search
    from eos_platform.analysis.transfer.plan import Settings
    from eos_platform.analysis.transfer.store import CELLS, HEADER, Cells

    settings = Settings.of(
        {
            "places": tuple(places),
            "operators": tuple(str(file) for file in operators or ()),
            "budgets": parse_ratios(budgets, "--budgets"),
            "ways": tuple(part.strip() for part in ways.split(",") if part.strip()),
            "seeds": seeds,
            "steps": steps,
            "adapt_steps": adapt_steps,
            "questions": questions,
            "search": parse_search(sets or ()),
        }
    )
    if report_only:
        if not (out / HEADER).exists():
            raise EosError(f"{out} holds no transfer matrix")
        show(settings, Cells(out, settings), out)
        return
    check_writable(out / CELLS)
    if processes > 1 and address is not None:
        raise EosError("--processes: with --address Ray decides how many there are")
    try:
        cells = _measure(settings, out, device, address, processes)
    except KeyboardInterrupt:
        terminal.say("eos: stopped; what has been measured is kept. Run the same command to resume", stderr=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    show(settings, cells, out)


def _measure(settings: Settings, out: Path, device: str | None, address: str | None, processes: int) -> Cells:
    from eos_platform.analysis.transfer.plan import first_items, transfers
    from eos_platform.analysis.transfer.run import here, operator_of, run
    from eos_platform.analysis.transfer.store import Cells
    from eos_platform.analysis.transfer.timing import time_cells
    from eos_platform.terminal.work_bar import work_bar

    for file in settings.operators:  # before anything is written
        operator_of(file)
    items = {item.key: item for item in (*first_items(settings), *transfers(settings))}
    left = {item.key for item in Cells(out, settings).left(list(items.values()))}
    size = {key: _size(item.kind, settings) for key, item in items.items()}
    done = sum(size[key] for key in items if key not in left)
    with work_bar(terminal.console(stderr=True), sum(size.values()), done) as bar:

        def finished(record: dict[str, Any]) -> None:
            key = record["key"]
            told = (
                f"{record['accuracy']:.1%}" if record["status"] == "measured" else f"not possible: {record['reason']}"
            )
            bar.finished(f"{items[key].name}: {told}", size[key])

        if processes > 1:
            from eos_platform.analysis.transfer.processes import on_processes

            cells = run(settings, out, on_processes(processes, device), finished)
        elif address is None:
            perform = here(device, lambda item, step, _: bar.working(item.name, step), out / "states")
            cells = run(settings, out, perform, finished)
        else:
            from eos_platform.engine.cluster.ray_session import ray_session
            from eos_platform.engine.transfer import on_ray

            with ray_session(address):
                cells = run(settings, out, on_ray(device), finished)
    time_cells(settings, cells, device, lambda line: terminal.say(line, stderr=True))
    return cells


def _size(kind: str, settings: Settings) -> int:
    """Work in a cell, in steps of a search, about."""
    from eos_platform.analysis.transfer.plan import ANEW, CALIBRATED

    asked = settings.questions // 64  # without gradients
    steps = settings.steps if kind == ANEW else settings.adapt_steps if kind.startswith("adapted") else 0
    return asked + steps + (CALIBRATING if kind.endswith(CALIBRATED) else 0)


def show(settings: Settings, cells: Cells, out: Path) -> None:
    """Write the report's files, and print the table.

    Raises:
        EosError: nothing is measured yet.
    """
    from eos_platform.analysis.transfer.matrix import table
    from eos_platform.analysis.transfer.plan import ANEW, places_by_name
    from eos_platform.analysis.transfer.report import markdown, summary
    from eos_platform.dashboards.comparing.transfer import transfer_figure
    from eos_platform.dashboards.page import page

    rows = table(cells.records, places=list(places_by_name(settings)))
    if rows.empty:
        raise EosError(f"{out}: nothing is measured yet")
    lines = summary(rows)
    figure = transfer_figure(rows[rows["kind"] != ANEW], settings.ways)
    texts = {
        REPORT: markdown(settings, cells.records),
        TABLE: rows.to_csv(index=False),
        PAGE: page("Transfer between models and tasks", "\n".join(lines), [figure], more={"Cells": _readable(rows)}),
    }
    for file, text in texts.items():
        write_atomic(out / file, text)
    terminal.stored()
    console = terminal.console()
    console.print(_table(rows))
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)
    for file in texts:
        console.print(f"wrote {out / file}", soft_wrap=True)


def _readable(rows: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([dict(zip(HEADS, cells, strict=True)) for cells in map(_cells, rows.to_dict("records"))])


HEADS = ("how", "from", "on", "budget", "accuracy", "kept (%)", "95 %", "compute ratio", "prompts", "seconds")


def _cells(row: dict[Any, Any]) -> tuple[str, ...]:
    from eos_platform.analysis.transfer.plan import ANEW

    kept = row["kept"] == row["kept"]
    return (
        str(row["kind"]),
        terminal.printable(row["source"]),
        terminal.printable(row["place"]),
        f"{row['budget']:g}",
        f"{row['accuracy']:.1%}",
        f"{100 * row['kept']:.1f}" if kept and row["kind"] != ANEW else "",
        f"{100 * row['low']:.1f} to {100 * row['high']:.1f}" if kept and row["kind"] != ANEW else "",
        f"{row['compute_ratio']:.3f}",
        f"{row['prompts']:,.0f}" if row["prompts"] == row["prompts"] else "",
        f"{row['seconds']:.0f}",
    )


def _table(rows: pd.DataFrame) -> Table:
    from eos_platform.terminal.tables import plain_table

    table = plain_table("deployed, held-out", left=HEADS[:3], right=("at", "accuracy", "kept (%)"), gap=1)
    for row in rows.to_dict("records"):
        table.add_row(*_cells(row)[:6])  # the files have the intervals
    return table
