"""``eos compare``: measure, then report: a table, CSV, Markdown, a page, MLflow."""

from __future__ import annotations

import math
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eos_platform.cli.options import AllowBad, Data, DeviceProfile, Missing, Options, Task, Trust, task_of
from eos_platform.common import console as terminal
from eos_platform.common.addresses import sqlite_path
from eos_platform.common.errors import EosError, redact
from eos_platform.common.files import check_writable, is_there, write_atomic
from eos_platform.common.printable import NAME

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

EXIT_INTERRUPTED = 130
MLFLOW = "sqlite:///eos-runs/mlflow.db"
POINTS, GAPS, REPORT, PAGE = "points.csv", "differences.csv", "report.md", "page.html"
SHOWN = 8  # designs at each ratio in the terminal; the files have all


def compare(
    operators: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[OPERATOR_FILES]...",
            help="Operator files (or models:/NAME@ALIAS) to compare, instead of searching.",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(help="A bundled model, a folder, or a name on the Hub."),
    ] = "bundled",
    ratios: Annotated[
        str | None,
        typer.Option(
            help="Compute ratios, separated by commas; default: those of the files, else .33,.22,.15,.11,.05."
        ),
    ] = None,
    designs: Annotated[
        str | None, typer.Option(help="Hand-designed operators, separated by commas, or none; default: all.")
    ] = None,
    tune: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Also tune every design: N trials, with as many question evaluations as one search.",
        ),
    ] = 0,
    questions: Annotated[int, typer.Option(min=1, help="Held-out questions.")] = 4096,
    seeds: Annotated[
        int | None, typer.Option(min=0, help="Searches per ratio; default: 1, or 0 when files are given.")
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a search setting; may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Results folder; a comparison that is already there is resumed.")] = Path(
        "eos-compare"
    ),
    mlflow: Annotated[str, typer.Option(metavar="URI|none", help="MLflow tracking URI to log to, or none.")] = MLFLOW,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Only rewrite the report from the results in --out.")
    ] = False,
    task: Task = None,
    data: Data = None,
    allow_bad: AllowBad = None,
    options: Options = None,
    batch: Annotated[int, typer.Option(min=1, help="Batch size of the timed prefill.")] = 8,
    device_profile: DeviceProfile = None,
    pictures: Annotated[
        int, typer.Option(min=0, help="Number of example pictures on which to show the kept tokens.")
    ] = 3,
    device: Annotated[str | None, typer.Option(help="Where to run; default: the GPU if there is one.")] = None,
    trust_remote_code: Trust = False,
    allow_missing: Missing = False,
) -> None:
    """Compare searched operators with hand-designed ones at the same compute, on the same questions.

    Example: [bold]eos compare --model bundled --ratios .2,.1 --tune 16[/bold]
    """
    from eos_platform.analysis.comparison import store
    from eos_platform.analysis.comparison.settings import Settings, parse_designs, parse_ratios, parse_search

    if mlflow != "none":
        ready(mlflow)
    if not report_only:
        settings = Settings.of(
            operators=tuple(operators or ()),
            model=model,
            task=task_of(task, data, allow_bad, model, options),
            ratios=parse_ratios(ratios),
            designs=parse_designs(designs),
            tune=tune,
            questions=questions,
            seeds=seeds,
            search=parse_search(sets or ()),
            trust_remote_code=trust_remote_code,
            allow_missing=allow_missing,
            batch=batch,
            device_profile=device_profile,
            pictures=pictures,
            out=out,
        )
        from eos_platform.analysis.comparison.run import run
        from eos_platform.costs.device.known import profile_of
        from eos_platform.protocols import Setting

        profile_of(Setting(profile=str(device_profile or "")))  # one that is none is an error before the long work

        try:
            run(settings, device)
        except KeyboardInterrupt:
            terminal.say(
                f"eos: stopped; what has been measured is kept. Resume with: {_command()}\n"
                f"eos: report what there is with: eos compare --report-only --out {shlex.quote(str(out))}",
                stderr=True,
            )
            raise typer.Exit(EXIT_INTERRUPTED) from None
    elif not os.path.lexists(out / store.HEADER):
        raise EosError(f"{out} holds no comparison")
    report(out, mlflow)


def report(folder: Path, mlflow: str = "none") -> None:
    """Make every output from the records in ``folder``, and show the table.

    Raises:
        EosError: no comparison there, or nothing measured yet.
    """
    from eos_platform.analysis.comparison import differences as statistics
    from eos_platform.analysis.comparison import store
    from eos_platform.analysis.comparison.points import for_csv, points_of, unreachable_of
    from eos_platform.analysis.comparison.report import markdown, slower

    header, records = store.read_header(folder), store.read_records(folder)
    points = points_of(records)
    if points.empty:
        raise EosError(f"{folder}: nothing is measured yet")
    gaps, volumes = statistics.differences(points), statistics.hypervolumes(points)
    files = {
        REPORT: markdown(header, points, gaps, volumes, unreachable_of(records)),
        POINTS: for_csv(points).to_csv(index=False),
        GAPS: gaps.to_csv(index=False),
        PAGE: _page(header, records, points),
    }
    for name, text in files.items():
        write_atomic(folder / name, text)
    terminal.stored()
    console = terminal.console()
    console.print(points_table(points, gaps))
    for line in slower(header, points):
        console.print(f"note: {line}", soft_wrap=True)
    for name in files:
        console.print(f"wrote {folder / name}", soft_wrap=True)
    if mlflow != "none":
        if (path := sqlite_path(mlflow)) is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        from eos_platform.tracking.comparison import ComparisonLog
        from eos_platform.tracking.reading.studies import open_command

        log = ComparisonLog(mlflow, f"compare {header['model']}", header["uid"], _artifacts(mlflow))
        intervals = {row["key"]: (row["accuracy_low"], row["accuracy_high"]) for row in points.to_dict("records")}
        log.operators([record for record in records if record["key"] in intervals], intervals)
        rows = zip(volumes["family"], volumes["design"], volumes["hypervolume"], strict=True)
        log.summary(
            {**files, store.HEADER: (folder / store.HEADER).read_text()},
            {f"hypervolume/{family}": value for family, design, value in rows if not design},
        )
        log.close("FINISHED")
        console.print(f"runs  {open_command(mlflow)}", soft_wrap=True)


def _page(header: dict[str, Any], records: list[dict[str, Any]], points: pd.DataFrame) -> str:
    from eos_platform.analysis.comparison.overlays import kept_of
    from eos_platform.dashboards.kept_tokens import kept_figure
    from eos_platform.dashboards.page import page
    from eos_platform.dashboards.pareto import pareto_figure
    from eos_platform.dashboards.skills import skills_figure

    figures = [pareto_figure(points), skills_figure(points)]
    for variant in ("tuned", "published"):
        kept = kept_of(records, points, header["examples"], variant)
        if set(kept["column"]) - {"searched"} or (variant == "published" and len(kept)):
            both = "searched, and " if "searched" in set(kept["column"]) else ""
            title = f"Tokens kept at the end: {both}designs as {variant}"
            figures.append(kept_figure(kept, header["examples"], title))
    lead = (
        f"Deployed operators of '{header['model']}' on {header['questions']:,} held-out questions of the task "
        f"'{header['task']}', hand-designed ones matched to the compute of the searched; {header['device']}."
    )
    return page("Searched and hand-designed operators", lead, figures)


def points_table(points: pd.DataFrame, gaps: pd.DataFrame) -> Table:
    """The comparison for a terminal: by ratio, then accuracy; searched operators in bold, the best designs below."""
    from eos_platform.analysis.comparison.report import p_text
    from eos_platform.terminal.tables import plain_table

    right = ("accuracy", "ratio", "tokens", "prefill ms", "searched ahead by", "p (Holm)")
    table = plain_table("", left=("operator",), right=right)
    table.columns[0].no_wrap = True
    ahead = {row["name"]: row for row in gaps.to_dict("records")}
    for _, rows in points.groupby("ratio", sort=False, dropna=False):
        designs, left_out = 0, 0
        for row in rows.to_dict("records"):
            if row["family"] == "hand-designed":
                designs += 1
                if designs > SHOWN:
                    left_out += 1
                    continue
            gap = ahead.get(row["name"])
            half = "" if gap is None else f" ({100 * gap['low']:+.1f} .. {100 * gap['high']:+.1f})"
            table.add_row(
                terminal.printable(row["name"], NAME),
                f"{row['accuracy']:.1%}",
                f"{row['compute_ratio']:.3f}",
                f"{row['mean_tokens']:.0f}",
                "" if math.isnan(row["prefill_ms"]) else f"{row['prefill_ms']:.1f}",
                "" if gap is None else f"{100 * gap['difference']:+.1f}{half}",
                "" if gap is None else p_text(gap["p_holm"]),
                style="bold" if row["family"] == "searched" else "",
            )
        table.add_row(f"  and {left_out} more in {REPORT}" if left_out else "")
    return table


def ready(uri: str) -> None:
    """Find out before the long work, not after it, whether there will be a store."""
    from eos_platform.tracking.recorder import probe

    path = sqlite_path(uri)
    if path is not None:
        is_there(path, "MLflow store")
        check_writable(path)
    else:
        probe(uri)


def _artifacts(uri: str) -> str | None:
    """Beside the database; a server decides by itself."""
    path = sqlite_path(uri)
    return None if path is None else (path.absolute().parent / "mlflow-artifacts").as_uri()


def _command() -> str:
    return redact(shlex.join(["eos", *sys.argv[1:]]))
