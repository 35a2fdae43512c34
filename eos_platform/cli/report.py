"""``eos report``: a study or a comparison as one file to mail, and its figures as pictures for papers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from eos_platform.common import console as terminal
from eos_platform.common.addresses import of_sqlite
from eos_platform.common.boundary import reading
from eos_platform.common.errors import EosError, shown
from eos_platform.common.files import check_writable, write_atomic


def report(
    source: Annotated[
        str, typer.Argument(metavar="STUDY|COMPARISON", help="Name of a study, or folder of a comparison.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file.")] = Path("report.html"),
    studies: Annotated[Path, typer.Option(help="Folder that holds the studies.")] = Path("eos-runs"),
    tracking: Annotated[
        str | None, typer.Option(metavar="URI", help="An MLflow tracking URI, instead of --studies.")
    ] = None,
    figures: Annotated[Path | None, typer.Option(metavar="DIR", help="Also save each figure to this folder.")] = None,
    form: Annotated[str, typer.Option("--format", metavar="png|svg", help="Format of those figures.")] = "png",
) -> None:
    """Write a self-contained HTML report: the front, its operators, accuracy by skill, and how the study went.

    Example: [bold]eos report quickstart --out report.html --figures figures --format svg[/bold]
    """
    from eos_platform.dashboard_data import report as made

    check_writable(out)
    if form not in made.FORMATS:
        raise EosError(f"unknown format '{form}'; known: {', '.join(made.FORMATS)}")
    if figures is not None:
        made.check_export(figures, form)
    if os.path.lexists(Path(source) / "comparison.json"):
        report = made.of_comparison(Path(source))
    else:
        from eos_platform.dashboard_data.studies import Studies

        known = Studies(tracking or of_sqlite(studies / "mlflow.db"))
        with reading(f"study {shown(source)} cannot be drawn from its MLflow store"):
            report = made.of_study(known, source)
    written = [write_atomic(out, made.html(report))]
    if figures is not None:
        written += made.export(report, figures, form)
    terminal.stored()
    for path in written:
        terminal.say(f"wrote {path}")
