"""``eos study check``: do the three stores of a study agree?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eos_platform import terminal


def check(
    source: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A study's name, or a study file.")],
    runs: Annotated[Path, typer.Option(help="The folder studies are kept in.")] = Path("eos-runs"),
) -> None:
    """Compare Optuna, MLflow and Ray's files record by record; exit code 1 when they differ.

    For a study that no driver is running: [bold]eos study run[/bold] itself puts right what a dead driver left.

    Example: [bold]eos study check quickstart[/bold]
    """
    from eos_platform.engine.study import Study

    study = Study(source, runs=runs)
    found = study.check()
    for line in found:
        terminal.say(line)
    if found:
        raise typer.Exit(1)
    status = study.status()
    terminal.say(f"{status}; {len(status.trials)} records agree in Optuna, MLflow and Ray's files")
