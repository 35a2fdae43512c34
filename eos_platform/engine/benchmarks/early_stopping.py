"""What early stopping saves and what it costs: a study without it and with it, same seeds, on this machine.

    python -m eos_platform.engine.benchmarks.early_stopping early-stopping --seeds 2

Each seed is two whole studies on Ray: one in which every search runs to its end, one with the study file's scheduler.
Told for each: search steps spent, and the hypervolume of the front (deployed, validation questions, from the store).
With a strategy that does not learn (qmc, random, grid) both are proposed the same searches.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pandas as pd
import typer
from optuna.trial import FrozenTrial, TrialState

from eos_platform.analysis.stats.pareto import hypervolume
from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_writable, write_atomic
from eos_platform.engine.driver import Interrupted
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.store.run_dir import load_study, run_dir_of
from eos_platform.engine.store.stored_trial import search_fields
from eos_platform.engine.strategy.scheduler import course_of
from eos_platform.engine.study import Study
from eos_platform.terminal.tables import plain_table

RUNS = Path("eos-runs")


class Spent(NamedTuple):
    """What a study took and what came of it."""

    searches: int
    stopped: int
    steps: int  # of all searches together
    hypervolume: float  # of the front; reference: compute ratio 1, accuracy 0
    front: int  # operators on it


def spent(study: StudyFile, trials: Sequence[FrozenTrial], front: Sequence[FrozenTrial]) -> Spent:
    """Of the trials of a study that ended."""
    ended = stored.finished(trials)
    points = pd.DataFrame([trial.values for trial in front], columns=["accuracy", "compute_ratio"])
    return Spent(
        len(ended),
        sum(trial.state == TrialState.PRUNED for trial in ended),
        sum(steps_of(study, trial) for trial in ended),
        hypervolume(points),
        len(front),
    )


def steps_of(study: StudyFile, trial: FrozenTrial) -> int:
    """Steps a search took: all of them, or those until it was stopped (or had last deployed, when it failed)."""
    if trial.state == TrialState.COMPLETE:
        return int(search_fields(study, trial)["steps"])
    return max((seen.step for seen in course_of(trial)), default=0)


def pair(study: StudyFile, seed: int) -> dict[str, StudyFile]:
    """The study with every search run to its end, and with its scheduler; the comparison at the end is left out.

    Raises:
        EosError: the study has no scheduler.
    """
    if study.scheduler.name == "none":
        raise EosError(f"study '{study.name}' has no scheduler: there is nothing to compare")
    sampler = study.sampler.model_copy(update={"seed": study.sampler.seed + seed})
    final = study.final.model_copy(update={"questions": 1, "baselines": ()})
    common = {"sampler": sampler, "final": final}
    whole = type(study.scheduler)()
    return {
        "whole": study.model_copy(update={**common, "name": f"{study.name}-whole-{seed}", "scheduler": whole}),
        "stopped": study.model_copy(update={**common, "name": f"{study.name}-stopped-{seed}"}),
    }


def measured(study: StudyFile, runs: Path) -> Spent:
    """What a study that has been run took."""
    with store.open_store(run_dir_of(study, runs), create=False) as optuna_study:
        return spent(study, optuna_study.get_trials(deepcopy=False), stored.front(optuna_study))


def main(
    source: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A study with a scheduler.")] = "early-stopping",
    seeds: Annotated[int, typer.Option(min=1, help="Pairs of studies.")] = 1,
    sets: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a field.")] = None,
    runs: Annotated[Path, typer.Option(help="The folder studies are kept in.")] = RUNS,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the figures.")] = None,
) -> None:
    """Run a study with and without stopping, and print steps spent and hypervolume reached."""
    console = terminal.console()
    table = plain_table(left=("seed", "study"), right=("searches", "stopped", "steps", "saved", "hypervolume", "front"))
    lines: list[dict[str, Any]] = []
    try:
        study = load_study(source, sets or (), runs)
        if out:
            check_writable(out)
        for seed in range(seeds):
            steps = 0
            for kind, one in pair(study, seed).items():
                Study(one, runs=runs, console=console).run()
                took = measured(one, runs)
                steps = steps or took.steps
                lines.append({"seed": seed, "study": kind, **took._asdict()})
                saved = f"{1 - took.steps / steps:.0%}" if kind == "stopped" else ""
                row = (took.searches, took.stopped, took.steps, saved, f"{took.hypervolume:.4f}", took.front)
                table.add_row(str(seed), kind, *map(str, row))
    except EosError as error:
        terminal.say(f"eos: {error}", stderr=True)
        raise typer.Exit(2) from None
    except (Interrupted, KeyboardInterrupt):
        terminal.say("eos: stopped; run the same command to resume", stderr=True)
        raise typer.Exit(130) from None
    console.print(table)
    if out:
        write_atomic(out, strict_json.dumps(lines, indent=1))


if __name__ == "__main__":
    terminal.run(lambda: typer.run(main))
