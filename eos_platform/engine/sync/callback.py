"""The driver's Ray Tune callback: what trials report goes to MLflow and to the progress display."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ray.tune import Callback

from eos_platform.common.errors import EosError
from eos_platform.common.files import write_atomic
from eos_platform.engine.status import row_of
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store.run_dir import RunDir
from eos_platform.engine.strategy.searcher import StudySearcher
from eos_platform.engine.sync.mlflow_writer import MlflowWriter
from eos_platform.terminal.progress import ProgressDisplay


class StudyCallback(Callback):
    """Tune tells the searcher (and so the store) first, then this."""

    def __init__(
        self, searcher: StudySearcher, mlflow_writer: MlflowWriter, display: ProgressDisplay, run_dir: RunDir
    ) -> None:
        self.searcher, self.mlflow_writer, self.display, self.folder = searcher, mlflow_writer, display, run_dir
        self.reported: dict[str, int] = {}  # the last step of each trial that has begun

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Open the run; a trial that starts again after its worker died keeps the one it has."""
        self.display.started(trial.config["number"])
        if trial.trial_id not in self.reported:
            self.reported[trial.trial_id] = 0
            self.mlflow_writer.start(row_of(self.folder.study, self.searcher.frozen(trial.trial_id)))

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict, **info: Any) -> None:
        """A step curve; steps done again after a worker's death are the same ones, and are logged once."""
        if "curve" not in result:
            return
        number, step = trial.config["number"], result["step"]
        self.display.step(number, step, result["steps"])
        if step > self.reported[trial.trial_id]:
            self.reported[trial.trial_id] = step
            self.mlflow_writer.curves(number, step, result["curve"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Close the run as the store has it."""
        row = row_of(self.folder.study, self.searcher.frozen(trial.trial_id))
        trace = (trial.last_result or {}).get("traceback") if row.state == "failed" else None
        if trace:
            with suppress(EosError):  # a full disk; the reason itself is in the store
                write_atomic(self.folder.path / "failures" / f"trial-{row.number}.txt", trace)
        kept = (trial.last_result or {}).get("kept")
        front = self.searcher.retry(lambda: store.front(self.searcher.optuna_study))
        self.mlflow_writer.finish(row, trace, kept, [best.number for best in front])
        if row.state in ("complete", "pruned"):
            self.folder.forget_state(trial.config["root"])
        if row.state == "interrupted":
            self.display.interrupted(row)
        else:
            self.display.finished(row, front)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The worker died once too often."""
        self.on_trial_complete(iteration, trials, trial, **info)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles callbacks beside its own state; nothing here is worth keeping."""
        return {}
