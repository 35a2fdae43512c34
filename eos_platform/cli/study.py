"""``eos study``: run, resume, look at and check studies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from eos_platform.cli.errors import EXIT_INTERRUPTED
from eos_platform.cli.options import Missing, Sets, Trust
from eos_platform.common import console as terminal

study_app = typer.Typer(
    no_args_is_help=True,
    help="Studies: many searches run by Optuna, one Pareto front.\n\nExample: [bold]eos study run quickstart[/bold]",
)

Runs = Annotated[Path, typer.Option(help="Folder that holds the studies.")]
Source = Annotated[str, typer.Argument(metavar="NAME|FILE", help="A study's name, or a study file.")]
Address = Annotated[str, typer.Option(help="A Ray cluster to run on, such as auto or ray-head:6379.")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Start over; an earlier study of this name is archived, not deleted.")
]
Ship = Annotated[bool, typer.Option("--ship-code", help="Send this package to nodes that lack it.")]
RUNS = Path("eos-runs")


@study_app.command("run")
def study_run(
    source: Source,
    sets: Sets = None,
    address: Address = "local",
    ship: Ship = False,
    runs: Runs = RUNS,
    fresh: Fresh = False,
    trust_remote_code: Trust = False,
    allow_missing: Missing = False,
) -> None:
    """Run a study, or continue it; finished searches are never repeated.

    Example: [bold]eos study run quickstart --set trials=8[/bold]
    """
    loading = _loading(trust_remote_code, allow_missing)
    _drive(source, [*(sets or ()), *loading], address, ship, runs, again=False, fresh=fresh)


@study_app.command("resume")
def study_resume(
    source: Source,
    sets: Sets = None,
    address: Address = "local",
    ship: Ship = False,
    runs: Runs = RUNS,
    trust_remote_code: Trust = False,
    allow_missing: Missing = False,
) -> None:
    """Continue a study that was stopped, or add trials to one that has finished.

    Example: [bold]eos study resume quickstart --set trials=20[/bold]
    """
    loading = _loading(trust_remote_code, allow_missing)
    _drive(source, [*(sets or ()), *loading], address, ship, runs, again=True)


def _loading(trust_remote_code: bool, allow_missing: bool) -> list[str]:
    """The flags as changes to a study file, which workers get; a flag left out leaves what the file says."""
    flags = {"trust_remote_code": trust_remote_code, "allow_missing": allow_missing}
    return [f"{name}=true" for name, on in flags.items() if on]


@study_app.command("status")
def study_status(source: Source, runs: Runs = RUNS) -> None:
    """Show a study's trials, its front, and how many searches remain.

    Example: [bold]eos study status quickstart[/bold]
    """
    from eos_platform.engine.study import Study
    from eos_platform.terminal.tables import status_remarks, status_table

    status = Study(source, runs=runs).status()
    console = terminal.console()
    console.print(status_table(status))
    for line in (*status_remarks(status), str(status)):
        console.print(line, soft_wrap=True)


@study_app.command("check")
def study_check(
    source: Source,
    runs: Runs = RUNS,
) -> None:
    """Compare Optuna, MLflow and Ray's files record by record; exit code 1 when they differ.

    Check a study while it is not running; [bold]eos study run[/bold] repairs what a killed driver left behind.

    Example: [bold]eos study check quickstart[/bold]
    """
    from eos_platform.engine.study import Study

    study = Study(source, runs=runs)
    result = study.check()
    for line in result:
        terminal.say(line)
    if result:
        raise typer.Exit(1)
    status = study.status()
    terminal.say(f"{status}; {len(status.trials)} records agree in Optuna, MLflow and Ray's files")


@study_app.command("list")
def study_list(runs: Runs = RUNS) -> None:
    """List the studies that ship with the package and those already run here.

    Example: [bold]eos study list[/bold]
    """
    from eos_platform.engine.study import known_studies
    from eos_platform.terminal.tables import plain_table

    table = plain_table(left=("study", "model", "trials", "state", "description"))
    for line in known_studies(runs):
        table.add_row(*line)
    terminal.console().print(table)


def _drive(
    source: str, sets: list[str] | None, address: str, ship: bool, runs: Path, *, again: bool, fresh: bool = False
) -> None:
    from eos_platform.engine.store.run_dir import load_study

    file = load_study(source, sets or (), runs)  # says what is wrong with it before the long imports
    from eos_platform.engine.study import Study

    study = Study(file, runs=runs, address=address, ship_code=ship)
    with resumable(study, source, runs):
        study.resume() if again else study.run(fresh=fresh)
        terminal.stored()


@contextmanager
def resumable(study: Any, source: str, runs: Path) -> Iterator[None]:
    """Say how to go on after Ctrl-C."""
    from eos_platform.engine.driver import Interrupted

    try:
        yield
    except (Interrupted, KeyboardInterrupt):
        begun = study.folder.study_file.exists()
        command = f"eos study resume {study.file.name}" if begun else f"eos study run {source}"
        where = "" if runs == RUNS else f" --runs {runs}"
        terminal.say(f"eos: stopped; every finished search is kept. Resume with: {command}{where}", stderr=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
