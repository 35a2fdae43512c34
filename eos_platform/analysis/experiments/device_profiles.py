"""How good predictions from a device profile are, on operators and budgets that the profile never saw.

    python -m eos_platform.analysis.experiments.device_profiles profile --shape llava-1.5-7b --out profiles
    python -m eos_platform.analysis.experiments.device_profiles unseen --shape llava-1.5-7b --out profiles
    python -m eos_platform.analysis.experiments.device_profiles budgets --shape llava-1.5-7b --out profiles
    python -m eos_platform.analysis.experiments.device_profiles table --out profiles

``unseen`` draws operators at random, in all modes and batch sizes of the profile, and times the unreduced prefill in
turns with them (drift: by how much it differs from the profile's). ``budgets`` asks the prediction for the number of
tokens that meets a share of the unreduced time, measures the operator, and then meets the budget as measured, as a
search does at its end (met). Both begin nothing more after ``--seconds``, take only the modes and batch sizes that are
named, and go on when they are called again, as does a profile that was stopped. ``--clock processor`` counts the time
of this process on one core, which other work on a CPU does not lengthen.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from eos_platform.bench.operators import SEARCHED, operators_for
from eos_platform.bench.profiling.drawn import drawn
from eos_platform.bench.profiling.measure import Points
from eos_platform.bench.profiling.plan import Wanted, longest, plan
from eos_platform.bench.shapes import load
from eos_platform.bench.work import Bench
from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import read_text, write_atomic
from eos_platform.costs.device.predictor import Prediction, rank_correlation
from eos_platform.costs.device.profile import DeviceProfile, Mode, Point
from eos_platform.costs.registry import COSTS
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.meeting import meet
from eos_platform.search.spent import Spent

ROWS = "rows.jsonl"
UNSEEN, FIRST_SEED = 100, 20_000  # seeds of the profile's own held-out operators lie far below
MET_BY = (SEARCHED, "fastv", "pool")  # what a budget is met with
SHARES = (0.9, 0.75, 0.6, 0.5, 0.4)  # of the unreduced milliseconds
AT_ONCE = 10  # operators that are measured in turns
Row = dict[str, Any]
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}


class Piece:
    """One model on one device, and the time a piece of the work may take."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.begun = given, time.monotonic()
        self.name = given.shape or given.model
        self.out: Path = given.out
        self.clock = CLOCKS[given.clock]
        if given.clock == "processor":
            torch.set_num_threads(1)  # threads that wait for each other count as at work
        self.model, self.grid = load(given.shape, given.model, torch.device(given.device))[1:]
        first = Bench.of(self.model, self.grid, 1, given.text)
        self.work_of = self.points([]).work_of
        self.target, self.width, self.encodes = first.target, first.x_bsd.shape[-1], first.encodes

    @property
    def path(self) -> Path:
        """The profile."""
        return self.out / f"{self.name}.json"

    def in_time(self) -> bool:
        """Whether there is time for more."""
        return time.monotonic() - self.begun < self.given.seconds

    def points(self, wanted: Sequence[Wanted], part: Path | None = None) -> Points:
        """Points to be measured on the model; energy is a profile's."""
        given = self.model, self.name, self.grid, self.given.text, wanted, part, self.given.rounds
        return Points(*given, clock=self.clock, times_alone=part is None or self.given.times_alone)

    def profile(self) -> None:
        """Measure the profile, unless it is there."""
        if self.path.is_file():
            return
        wanted = plan(self.target, self.width, self.given.text, self.given.modes, self.given.batch, self.encodes)
        part = self.path.with_suffix(".part")
        self.points(wanted, part).run(lambda done, of, what: None).save(self.path)
        part.unlink(missing_ok=True)

    def unseen(self) -> None:
        """Measure operators that were never seen, and hold the predictions against them."""
        for kind, mode, batch, prediction in self.missing("unseen"):
            seeds = sorted(set(range(self.given.operators)) - {row["seed"] for row in self.rows(kind, mode, batch)})
            for start in range(0, len(seeds), AT_ONCE):
                if not self.in_time():
                    return
                some = seeds[start : start + AT_ONCE]
                operators = [drawn(self.target, self.width, FIRST_SEED + seed) for seed in some]
                length = self.target.tokens + longest(self.given.text)
                alone = Wanted("prefill", mode, batch, length)  # how far the machine has drifted since its profile
                found = self.measured([alone, *(Wanted("operator", mode, batch, operator=one) for one in operators)])
                drift = found[0].time / prediction.curve(length) - 1
                for seed, point in zip(some, found[1:], strict=True):
                    predicted = prediction.of_work(point.work)
                    self.add(kind, mode, batch, seed=seed, predicted=predicted, ms=point.time, drift=drift)

    def budgets(self) -> None:
        """Meet budgets by the prediction, and measure what that gave."""
        for kind, mode, batch, prediction in self.missing("budgets"):
            known = {(row["share"], row["operator"]) for row in self.rows(kind, mode, batch)}
            whole = prediction.curve(self.target.tokens + longest(self.given.text))
            for name, share in itertools.product(MET_BY, SHARES):
                if (share, name) in known or not self.in_time():
                    continue
                wanted = _at_budget(self, name, prediction, share * whole)
                if wanted is None:
                    terminal.say(f"{self.name} {mode} batch {batch}: no {name} takes {share:.0%} of {whole:.3g} ms")
                    continue
                timed = _Timed(self, mode, batch, prediction)
                met = meet(timed, wanted, share * whole)
                first = timed.told[0]
                more = {"share": share, "operator": name, "target": share * whole, "met": met.spent.value}
                self.add(kind, mode, batch, predicted=first.predicted, ms=first.value, **more)

    def measured(self, wanted: Sequence[Wanted]) -> tuple[Point, ...]:
        """Points, in turns."""
        return self.points(wanted).run(lambda done, of, what: None).points

    def missing(self, kind: str) -> Iterator[tuple[str, Mode, int, Prediction]]:
        """Modes and batch sizes of the profile that are wanted."""
        profile = DeviceProfile.load(self.path)
        for mode, batch in profile.settings():
            if mode not in (self.given.named[0] or [mode]) or batch not in (self.given.named[1] or [batch]):
                continue
            yield kind, mode, batch, Prediction.of(profile, mode, batch)

    def rows(self, kind: str, mode: str, batch: int) -> list[Row]:
        """What has been measured of this model."""
        mine = {"model": self.name, "kind": kind, "mode": mode, "batch": batch}
        return [row for row in read_rows(self.out) if mine.items() <= row.items()]

    def add(self, kind: str, mode: str, batch: int, **values: Any) -> None:
        """Write a row."""
        row = {"model": self.name, "kind": kind, "mode": mode, "batch": batch, **values}
        lines = [strict_json.dumps(one) for one in [*read_rows(self.out), row]]
        write_atomic(self.out / ROWS, "\n".join(lines) + "\n")


class _Timed:
    """The prefill's time as a cost of which a budget can be met (``search.meeting``)."""

    cost = COSTS["prefill_ms"]

    def __init__(self, piece: Piece, mode: Mode, batch: int, prediction: Prediction) -> None:
        self.piece, self.mode, self.batch, self.prediction = piece, mode, batch, prediction
        self.told: list[Spent] = []  # everything measured

    def deployed(self, operator: OperatorSpec) -> float:
        return self.prediction.of_work(self.piece.work_of(operator))

    def spent(self, operator: OperatorSpec, budget: float, times: int = 1) -> Spent:
        """Measured once, whatever ``times``: a point is a median already."""
        (point,) = self.piece.measured([Wanted("operator", self.mode, self.batch, operator=operator)])
        self.told.append(Spent(self.cost.name, self.cost.unit, budget, point.time, self.deployed(operator)))
        return self.told[-1]


def _at_budget(piece: Piece, name: str, prediction: Prediction, target: float) -> OperatorSpec | None:
    """The operator of a kind with the most tokens that is predicted to meet the target."""
    low, high, best = 2.0, float(piece.target.tokens - 1), None
    for _ in range(24):
        middle = (low + high) / 2
        ((_, operator),) = operators_for([name], piece.target, middle, piece.width)
        if prediction.of_work(piece.work_of(operator)) <= target:
            low, best = middle, operator
        else:
            high = middle
    return best


def read_rows(folder: Path) -> list[Row]:
    """The rows of a folder; none where nothing was measured."""
    path = folder / ROWS
    if not path.is_file():
        return []
    return [strict_json.loads(line, str(path)) for line in read_text(path, "rows").splitlines()]


def table(folder: Path) -> str:
    """What was found: predictions of operators never seen, then budgets."""
    rows = read_rows(folder)
    settings = list(dict.fromkeys((row["model"], row["mode"], row["batch"]) for row in rows))
    lines = [f"{'model':16}{'mode':>10}{'batch':>6}{'operators':>10}{'median':>8}{'90 %':>8}{'rank':>7}{'drift':>8}"]
    for model, mode, batch in settings:
        mine = [row for row in rows if _of(row, "unseen", model, mode, batch)]
        off = sorted(abs(row["predicted"] / row["ms"] - 1) for row in mine)
        if not off:
            continue
        rank = rank_correlation([row["predicted"] for row in mine], [row["ms"] for row in mine])
        most = off[min(len(off) - 1, round(0.9 * len(off)))]
        said, drift = "" if rank is None else f"{rank:.3f}", statistics.median(row["drift"] for row in mine)
        lines.append(
            f"{model:16}{mode:>10}{batch:>6}{len(mine):>10}{statistics.median(off):>8.1%}{most:>8.1%}{said:>7}{drift:>+8.1%}"
        )
    head = f"{'target ms':>10}{'predicted':>10}{'measured':>10}{'off':>8}{'met':>8}  by"
    lines.append(f"{'model':16}{'mode':>10}{'batch':>6}{head}")
    for model, mode, batch in settings:
        for row in rows:
            if _of(row, "budgets", model, mode, batch):
                off_target, met = (row.get(name, math.nan) / row["target"] - 1 for name in ("ms", "met"))
                times = (
                    f"{row['target']:>10.2f}{row['predicted']:>10.2f}{row['ms']:>10.2f}{off_target:>+8.1%}{met:>+8.1%}"
                )
                lines.append(f"{model:16}{mode:>10}{batch:>6}{times}  {row['operator']}")
    return "\n".join(lines)


def _of(row: Row, kind: str, model: str, mode: str, batch: int) -> bool:
    return (row["kind"], row["model"], row["mode"], row["batch"]) == (kind, model, mode, batch)


def main(words: list[str] | None = None) -> int:
    """Measure a piece, or print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("piece", choices=("profile", "unseen", "budgets", "table"))
    parser.add_argument("--shape", help="random weights at the size of a model")
    parser.add_argument("--model", help="instead: a bundled model, or a folder")
    parser.add_argument("--modes", nargs="+", default=None, help="default: eager, and on a GPU captured")
    parser.add_argument("--batch", type=int, nargs="+", default=None, help="default: 1, and on a GPU 16")
    parser.add_argument("--text", type=int, default=60, help="tokens that are not visual")
    parser.add_argument("--operators", type=int, default=UNSEEN, help="drawn for unseen")
    parser.add_argument("--rounds", type=int, default=None, help="times each point is measured in turn")
    parser.add_argument("--seconds", type=float, default=480.0, help="after which nothing more is begun")
    parser.add_argument("--times-alone", action="store_true", help="a profile without energy: a second less a point")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("device-profiles"))
    given = parser.parse_args(words)
    given.named = given.modes, given.batch
    gpu = given.device.startswith("cuda")
    given.modes = given.modes or (["eager", "captured"] if gpu else ["eager"])
    given.batch = given.batch or ([1, 16] if gpu else [1])
    try:
        if given.piece != "table":
            getattr(Piece(given), given.piece)()
        terminal.say(table(given.out))
    except EosError as error:
        terminal.say(f"device_profiles: {error}", stderr=True)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
