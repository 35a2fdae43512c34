"""Black-box search on the space that gradient search moves in: what the gradient is worth.

    python -m eos_platform.analysis.baselines.blackbox --model bundled --budget .15 --trials 300 --out blackbox.jsonl
    python -m eos_platform.analysis.baselines.blackbox --no-probe ...  # few dimensions, where such search does best

Optuna's samplers maximise the accuracy of the deployed operator on the first questions of the search split. The first
trial is where a gradient search starts; every trial meets the budget. Each trial is a line of the file given: samples
(questions run through the model) and seconds until then, and the best accuracy so far, at a few of them also on
held-out questions. Held-out measurements count neither as samples nor as seconds. Best operators lie beside the file.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from eos_platform.analysis.baselines.blackbox_samplers import SAMPLERS, check_samplers, make_study
from eos_platform.analysis.baselines.blackbox_space import Space
from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_writable
from eos_platform.costs.flops import compute_ratio
from eos_platform.models.runtime.attach import reducing
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.config import SearchConfig
from eos_platform.tasks import evaluate, load_workload
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import answered

MARKS = (10, 30, 100, 300)  # trials after which the best so far is measured on held-out questions, and at the end


@dataclass(frozen=True)
class Point:
    """Where a search stands after a trial."""

    trials: int
    samples: int
    seconds: float
    sampler_seconds: float  # of these, what the sampler itself took
    accuracy: float  # of this trial, on the search's questions
    best: float  # of all so far
    heldout: float | None = None  # of the best so far, where it was measured


@dataclass(frozen=True)
class Outcome:
    """What one sampler found."""

    operator: OperatorSpec
    compute_ratio: float
    numbers: int  # dimensions of the space
    curve: tuple[Point, ...]


class Judge:
    """Deployed accuracy on the first questions of the search split, which are made ready once."""

    def __init__(self, workload: Subject, questions: int) -> None:
        self.model = workload.model
        size = 512 if self.model.device.type == "cuda" else 32
        self.batches = list(workload.encoded("search", questions).batches(size))

    @torch.no_grad()
    def accuracy(self, operator: OperatorSpec) -> float:
        """Share of the questions answered exactly."""
        answers = []
        for batch in self.batches:
            with reducing(self.model, operator, batch.layout):
                answers.append(answered(self.model, batch))
        return float(torch.cat(answers).float().mean())


def blackbox(
    workload: Subject,
    config: SearchConfig,
    sampler: str,
    *,
    trials: int,
    questions: int = 512,
    heldout: int = 4096,
    report: Callable[[Point], None] | None = None,
) -> Outcome:
    """Search with one of ``SAMPLERS``.

    Args:
        config: what a gradient search would be told; budget, probe, seed, layers, selector and the like are read.
        questions: of the search split, for each trial.
        heldout: questions the best so far is measured on now and then.
        report: called after every trial.

    Raises:
        EosError: unknown sampler, a package it needs is missing, or a budget nothing reaches.
    """
    if trials < 1:
        raise EosError(f"trials must be at least 1, got {trials}")
    check_samplers([sampler])
    space = Space(workload, config)
    judge = Judge(workload, questions)
    study, distributions = make_study(sampler, space, config.seed, trials)
    curve: list[Point] = []
    operator: OperatorSpec | None = None  # the best
    best, known = -1.0, None
    seconds = sampler_seconds = 0.0
    for number in range(1, trials + 1):
        started = time.perf_counter()
        trial = study.ask(distributions)
        drawn = time.perf_counter()
        tried = space.operator(trial.params, f"{sampler}-{config.budget:g}")
        accuracy = judge.accuracy(tried)
        judged = time.perf_counter()
        study.tell(trial, accuracy)
        ended = time.perf_counter()
        seconds += ended - started
        sampler_seconds += (drawn - started) + (ended - judged)
        if accuracy > best:
            best, known = accuracy, None
            operator = _signed(tried, workload, space.config, sampler, number, questions)
        due = number in MARKS or number == trials
        if due and known is None:
            known = evaluate(workload, operator, "heldout", heldout).accuracy
        curve.append(
            Point(number, number * questions, seconds, sampler_seconds, accuracy, best, known if due else None)
        )
        if report is not None:
            report(curve[-1])
    assert operator is not None  # any accuracy is better than none
    ratio = compute_ratio(operator, workload.shape, workload.text_tokens)
    return Outcome(operator, ratio, len(space.entries), tuple(curve))


def samples_to_reach(curve: Iterable[Point], accuracy: float, *, heldout: bool = False) -> int | None:
    """Samples after which the best so far reached ``accuracy``; None: never.

    Args:
        heldout: on held-out questions, at the trials where that was measured.
    """
    for point in curve:
        reached = point.heldout if heldout else point.best
        if reached is not None and reached >= accuracy:
            return point.samples
    return None


def _signed(
    operator: OperatorSpec, workload: Subject, config: SearchConfig, sampler: str, trial: int, questions: int
) -> OperatorSpec:
    shared = {"model": workload.name, "task": workload.task, "sampler": sampler, "trial": trial, "questions": questions}
    settings = {"budget": config.budget, "probe": config.learns_directions, "seed": config.seed}
    return operator.model_copy(update={"provenance": shared | settings})


def table(outcomes: dict[str, Outcome]) -> str:
    """One row a sampler, for a terminal."""
    marks = [mark for mark in MARKS if any(mark <= outcome.curve[-1].trials for outcome in outcomes.values())]
    heads = ["sampler", "numbers", "trials", "samples", "seconds", "own s", "compute", "search %"]
    heads += [f"at {mark}" for mark in marks] + ["heldout %"]
    lines = ["".join(f"{head:>10}" for head in heads)]
    for name, outcome in outcomes.items():
        last = outcome.curve[-1]
        known = {point.trials: point.heldout for point in outcome.curve}
        cells = [name, f"{outcome.numbers}", f"{last.trials}", f"{last.samples}", f"{last.seconds:.1f}"]
        cells += [f"{last.sampler_seconds:.1f}", f"{outcome.compute_ratio:.4f}", _percent(last.best)]
        cells += [_percent(known.get(mark)) for mark in marks] + [_percent(last.heldout)]
        lines.append("".join(f"{cell:>10}" for cell in cells))
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"


def main(words: list[str] | None = None) -> int:
    """Search with each sampler and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--budget", type=float, default=0.15, help="compute ratio that no trial exceeds")
    parser.add_argument("--samplers", nargs="+", default=list(SAMPLERS), metavar="NAME", help=", ".join(SAMPLERS))
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--questions", type=int, default=512, help="of the search split, for each trial")
    parser.add_argument("--heldout", type=int, default=4096, help="questions for the best")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-probe", action="store_true", help="no learned direction: only a few numbers to find")
    parser.add_argument("--device", help="default: the GPU if there is one")
    parser.add_argument("--out", type=Path, default=Path("blackbox.jsonl"), help="one line a trial; overwritten")
    given = parser.parse_args(words)
    try:
        for name in ("trials", "questions", "heldout"):
            if getattr(given, name) < 1:
                raise EosError(f"{name} must be at least 1, got {getattr(given, name)}")
        config = SearchConfig.of({"budget": given.budget, "seed": given.seed, "probe": not given.no_probe})
        check_samplers(given.samplers)
        check_writable(given.out)
        run(load_workload(given.model, device=given.device), config, given)
    except EosError as error:
        terminal.say(f"blackbox: {error}", stderr=True)
        return 2
    return 0


def run(workload: Subject, config: SearchConfig, given: argparse.Namespace) -> dict[str, Outcome]:
    """Every sampler told, written down as it goes."""
    outcomes: dict[str, Outcome] = {}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with given.out.open("w", encoding="utf-8") as file:
        for name in dict.fromkeys(given.samplers):
            record = {
                "model": workload.name,
                "budget": config.budget,
                "probe": config.learns_directions,
                "seed": config.seed,
            }
            record |= {"sampler": name, "questions": given.questions}

            def write(kind: str, row: dict[str, Any], common: dict[str, Any] = record) -> None:
                file.write(strict_json.dumps(strict_json.plain({"kind": kind, **common, **row})) + "\n")
                file.flush()

            def report(point: Point, write: Callable[[str, dict[str, Any]], None] = write) -> None:
                write("trial", asdict(point))

            options = {"trials": given.trials, "questions": given.questions, "heldout": given.heldout}
            outcome = outcomes[name] = blackbox(workload, config, name, **options, report=report)
            kind = "probe" if config.learns_directions else "no-probe"
            path = given.out.with_name(f"{given.out.stem}-{name}-{kind}-{config.budget:g}-{config.seed}.json")
            outcome.operator.save(path)
            result = {"operator": path.name, "numbers": outcome.numbers, "compute_ratio": outcome.compute_ratio}
            write("result", {**asdict(outcome.curve[-1]), **result, "counts": list(outcome.operator.counts)})
            terminal.say(table({name: outcome}))
    if len(outcomes) > 1:
        terminal.say("\n" + table(outcomes))
    return outcomes


if __name__ == "__main__":
    terminal.run(main)
