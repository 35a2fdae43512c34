"""How many searches a minute, one at a time and several at once, on as many GPUs (cores, where there are none).

    python -m eos_platform.engine.benchmarks.throughput --model bundled --at-once 1,2,4

Each number at once is a study of its own on Ray, of searches that differ in their seed alone, so that all are the same
work. The clock runs from the beginning of its first search to the end of its last, loading of the model included. One
search beforehand does not count: it leaves in the cache what the vision tower makes of the pictures, for all alike.
Efficiency is searches a minute over those of one at a time, shared among them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import typer
from optuna.trial import FrozenTrial, TrialState

from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_writable, write_atomic
from eos_platform.engine.driver import Interrupted
from eos_platform.engine.schema.study_file import StudyFile
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.store.run_dir import run_dir_of
from eos_platform.engine.study import Study
from eos_platform.terminal.tables import plain_table


class Rate(NamedTuple):
    """What came of one number of searches at once."""

    searches: int
    seconds: float  # from the beginning of the first to the end of the last

    @property
    def a_minute(self) -> float:
        """Searches a minute."""
        return 60 * self.searches / self.seconds


def rate(trials: Sequence[FrozenTrial]) -> Rate:
    """Of the searches of a study that ended.

    Raises:
        EosError: one of them failed.
    """
    if any(trial.state != TrialState.COMPLETE for trial in trials):
        raise EosError("a search failed: what the others took says nothing")
    begun = min(trial.datetime_start for trial in trials if trial.datetime_start)
    ended = max(trial.datetime_complete for trial in trials if trial.datetime_complete)
    return Rate(len(trials), (ended - begun).total_seconds())


def study_of(model: str, budget: float, steps: int, at_once: int, rounds: int, gpus: int) -> StudyFile:
    """``rounds`` rounds of equal searches, one GPU (or core) for each."""
    return StudyFile.of(
        {
            "name": f"throughput-{at_once}",
            "model": model,
            "search": {"budget": budget, "steps": steps},
            "space": {"seed": {"int": [0, 100_000]}},
            "sampler": "random",
            "trials": at_once * rounds,
            "concurrent": at_once,
            "resources": {"cpu": 1, "gpu": 1 if gpus else 0},
            "final": {"questions": 1, "baselines": []},
        }
    )


def main(
    model: Annotated[str, typer.Option(help="A bundled model, or a model folder.")] = "bundled-small",
    at_once: Annotated[str, typer.Option(help="How many searches at once, each number in turn.")] = "1,2",
    rounds: Annotated[int, typer.Option(min=1, help="Searches one after another.")] = 3,
    budget: Annotated[float, typer.Option(help="Compute ratio of each search.")] = 0.2,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each search.")] = 480,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the figures.")] = None,
) -> None:
    """Run equal searches, so many at once, and print searches a minute and efficiency."""
    console, gpus = terminal.console(), torch.cuda.device_count()
    table = plain_table(left=("at once",), right=("searches", "seconds", "a minute", "efficiency"))
    lines: list[dict[str, Any]] = []
    try:
        numbers = numbers_of(at_once, gpus)
        if out:
            check_writable(out)
        with tempfile.TemporaryDirectory(prefix="eos-throughput-") as scratch:
            first = study_of(model, budget, steps, 1, 1, gpus).model_copy(update={"name": "throughput-first"})
            Study(first, runs=scratch, console=console).run()
            for number in numbers:
                study = study_of(model, budget, steps, number, rounds, gpus)
                Study(study, runs=scratch, console=console).run()
                with store.open_store(run_dir_of(study, scratch), create=False) as optuna_study:
                    took = rate(stored.finished(optuna_study.get_trials(deepcopy=False)))
                lines.append({"at_once": number, **took._asdict(), "a_minute": took.a_minute})
                share = took.a_minute / number / (lines[0]["a_minute"] / lines[0]["at_once"])
                table.add_row(
                    str(number), str(took.searches), f"{took.seconds:.1f}", f"{took.a_minute:.2f}", f"{share:.0%}"
                )
                if out:  # after each: hours may lie between
                    write_atomic(out, strict_json.dumps(lines, indent=1))
    except EosError as error:
        terminal.say(f"eos: {error}", stderr=True)
        raise typer.Exit(2) from None
    except (Interrupted, KeyboardInterrupt):
        raise typer.Exit(130) from None
    console.print(table)


def numbers_of(text: str, gpus: int) -> list[int]:
    """Numbers from "1,2,4", each of which has a GPU (where there are GPUs) for every search.

    Raises:
        EosError: not such a list.
    """
    words = text.split(",")
    if not all(word.strip().isdecimal() and int(word) for word in words):
        raise EosError(f"--at-once takes whole numbers such as 1,2,4, not '{text}'")
    if gpus and max(map(int, words)) > gpus:
        raise EosError(f"--at-once {text}: there are {gpus} GPUs here, one for each search")
    return [int(word) for word in words]


if __name__ == "__main__":
    terminal.run(lambda: typer.run(main))
