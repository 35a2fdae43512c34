"""The driver's ear on Ray Tune: what trials report goes to MLflow and to the board."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlflow.exceptions import MlflowException
from ray.tune import Callback
from sqlalchemy.exc import SQLAlchemyError

from eos_platform.engine import store
from eos_platform.engine.folder import Folder
from eos_platform.engine.progress import Board
from eos_platform.engine.searcher import StudySearcher
from eos_platform.engine.status import row_of
from eos_platform.files import write_atomic
from eos_platform.tracking.recorder import Recorder, first_line


class Listener(Callback):
    """Tune tells the searcher (and so the store) first, then this."""

    def __init__(self, searcher: StudySearcher, recorder: Recorder, board: Board, folder: Folder) -> None:
        self.searcher, self.recorder, self.board, self.folder = searcher, recorder, board, folder
        self.runs: dict[str, str | None] = {}
        self.complained = False

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Open the run; a trial that starts again after its worker died keeps the one it has."""
        number = trial.config["number"]
        self.board.started(number)
        if trial.trial_id in self.runs:
            return
        live = self.searcher.live[trial.trial_id]
        row = row_of(self.folder.study, self.searcher.frozen(trial.trial_id))
        run = self._track(lambda: self.recorder.start_trial(row))
        self.runs[trial.trial_id] = run
        if run:
            live.set_user_attr(store.RUN_ID, run)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict, **info: Any) -> None:
        """A step curve."""
        if "curve" not in result:
            return
        self.board.step(trial.config["number"], result["step"], result["steps"])
        run = self.runs.get(trial.trial_id)
        if run:
            self._track(lambda: self.recorder.curves(run, result["step"], result["curve"]))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Close the run as the store has it."""
        frozen = self.searcher.frozen(trial.trial_id)
        row = row_of(self.folder.study, frozen)
        run = self.runs.get(trial.trial_id)
        trace = (trial.last_result or {}).get("traceback") if row.state == "failed" else None
        if trace:
            write_atomic(self.folder.path / "failures" / f"trial-{row.number}.txt", trace)
        if run:
            self._track(lambda: self.recorder.finish_trial(run, row, trace))
        if row.state != "failed":
            self.folder.forget_state(trial.config["root"])
        self.board.finished(row, store.front(self.searcher.told))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The worker died once too often."""
        self.on_trial_complete(iteration, trials, trial, **info)

    def _track(self, write: Callable[[], Any]) -> Any:
        """Write to MLflow. A tracker that is down must not end searches: ``reconcile`` makes up for it at the end."""
        try:
            return write()
        except (MlflowException, SQLAlchemyError, OSError) as error:
            if not self.complained:
                self.complained = True
                self.board.note(f"MLflow cannot be written ({first_line(error)}); its runs are completed at the end")
            return None

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles callbacks beside its own state; nothing here is worth keeping."""
        return {}
