"""MLflow follows the study from a thread of its own: a slow or absent server holds no search up.

Jobs are done in order and kept until they are done. What waits of one run's curves goes out in one write.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mlflow.entities import Metric

from eos_platform.tracking import names
from eos_platform.tracking.client import TROUBLE, first_line, refused
from eos_platform.tracking.recorder import Recorder
from eos_platform.tracking.rows import TrialRow

BATCH = 1000  # metrics MLflow takes in one write
PAUSE = 0.2  # seconds to gather reports in, before they are written
PATIENCE = 60.0  # seconds to wait for an absent server once the searches are over


class Point(NamedTuple):
    """One report."""

    step: int
    millis: int
    values: Mapping[str, float]


@dataclass
class _Trial:
    row: TrialRow
    points: list[Point] = field(default_factory=list)
    run: str | None = None
    last: TrialRow | None = None  # once it ended
    trace: str | None = None
    broken: bool = False  # cannot be written, whatever the server's state
    kept: str | None = None


class MlflowWriter:
    """Writes trials to MLflow behind the driver's back.

    Args:
        note: told once when MLflow cannot be written, and once when it can again.
    """

    def __init__(self, recorder: Recorder, note: Callable[[str], None] = lambda text: None) -> None:
        self.recorder, self.note = recorder, note
        self.away = False
        self._trials: dict[int, _Trial] = {}
        self._due: deque[int] = deque()  # numbers of trials with something to write
        self._news = threading.Condition()
        self._closing = self._given_up = False
        self._front: list[int] = []  # numbers of the trials on it, as the store had it last
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def __enter__(self) -> MlflowWriter:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Write what is left; wait ``PATIENCE`` for an absent server, and for what it was last asked.

        Nothing is written once this returns: whoever then makes the runs agree with the store is alone.
        """
        with self._news:
            self._closing = True
            self._news.notify_all()
        self._thread.join(PATIENCE)
        self._given_up = True
        self._thread.join()

    def start(self, row: TrialRow) -> None:
        """A trial begins."""
        self._put(row.number, lambda: self._trials.setdefault(row.number, _Trial(row)))

    def curves(self, number: int, step: int, values: Mapping[str, float]) -> None:
        """A running search reported."""
        point = Point(step, int(time.time() * 1000), dict(values))
        self._put(number, lambda: self._trials[number].points.append(point))

    def finish(
        self, row: TrialRow, trace: str | None = None, kept: str | None = None, front: Sequence[int] | None = None
    ) -> None:
        """A trial ended as the row says.

        Args:
            kept: the tokens its operator keeps on the example pictures, JSON.
            front: numbers of the trials on the front now.
        """

        def end() -> None:
            # a worker that is lost before it has begun has told nothing of its trial
            trial = self._trials.setdefault(row.number, _Trial(row))
            trial.last, trial.trace, trial.kept = row, trace, kept
            self._front = self._front if front is None else list(front)

        self._put(row.number, end)

    def run_of(self, number: int, seconds: float = 0.5) -> str | None:
        """The run of a trial; waits a little for one that is being made, unless MLflow is away."""
        until = time.monotonic() + seconds
        with self._news:
            while (
                number in self._trials
                and self._trials[number].run is None
                and not self._trials[number].broken
                and not self.away
            ):
                if not self._news.wait(max(0.0, until - time.monotonic())):
                    return None
            trial = self._trials.get(number)
            return trial.run if trial else None

    def _put(self, number: int, change: Callable[[], object]) -> None:
        with self._news:
            change()
            if number not in self._due:
                self._due.append(number)
            self._news.notify_all()

    def _work(self) -> None:
        pause = 0.5
        while True:
            with self._news:
                self._news.wait_for(lambda: self._due or self._closing)
                if not self._due or self._given_up:
                    return
                if self._ready() is None and not self._closing:  # only reports: a moment brings more of them
                    self._news.wait_for(lambda: self._ready() is not None or self._closing, PAUSE)
                ready = self._ready()
                number = self._due[0] if ready is None else ready
                self._due.remove(number)
                trial = self._trials[number]
                points, trial.points = trial.points, []
                last, trace = trial.last, trial.trace
            if trial.broken:
                continue
            try:
                self._write(number, trial, points, last, trace)
            except TROUBLE as error:
                if refused(error):
                    trial.run = None  # the study's end may have to make another
                    self._give_up(number, trial, error)
                    continue
                self._says(True, f"MLflow cannot be written ({first_line(error)}); what it misses is kept for it")
                with self._news:
                    trial.points[:0] = points
                    if number not in self._due:
                        self._due.append(number)
                    self._news.wait_for(lambda: self._closing, pause)
                pause = min(2.0, 1.5 * pause)
            except Exception as error:
                self._give_up(number, trial, error)
            else:
                pause = 0.5
                self._says(False, "MLflow can be written again")

    def _ready(self) -> int | None:
        """A trial that should not wait: its run is to be made (its end asks for the run's id), or to be closed."""
        trials, due = self._trials, self._due
        unmade = next((number for number in due if trials[number].run is None), None)
        return next((number for number in due if trials[number].last), None) if unmade is None else unmade

    def _write(self, number: int, trial: _Trial, points: list[Point], last: TrialRow | None, trace: str | None) -> None:
        if trial.run is None:
            # an absent server may have made the run and never said so
            known = self.recorder.trial_runs().get(number) if self.away else None
            run = known.info.run_id if known else self.recorder.start_trial(trial.row)
            with self._news:
                trial.run = run
                self._news.notify_all()
        metrics = [
            Metric(names.curve(name), value, point.millis, point.step)
            for point in points
            for name, value in point.values.items()
        ]
        for start in range(0, len(metrics), BATCH):
            self.recorder.client.log_batch(trial.run, metrics=metrics[start : start + BATCH])
        if last is not None:
            self.recorder.finish_trial(trial.run, last, trace, trial.kept)
            self.recorder.mark_front(self._front)
            with self._news:
                del self._trials[number]  # the store and MLflow have it all

    def _give_up(self, number: int, trial: _Trial, error: Exception) -> None:
        """A thread has nobody to tell; the study's end writes the run again."""
        with self._news:
            trial.broken = True
            self._news.notify_all()
        self.note(f"trial {number} cannot be written to MLflow ({type(error).__name__}: {first_line(error)})")

    def _says(self, away: bool, text: str) -> None:
        if away != self.away:
            with self._news:
                self.away = away
                self._news.notify_all()
            self.note(text)
