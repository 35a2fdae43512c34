"""Ray Tune's own record of each driver's trials, as its files have it: read as JSON, nothing is unpickled.

Tune writes a snapshot every few seconds. That of a killed driver says RUNNING for ever, of trials that ended or run
under another id now; ``close`` puts that right from the store. What it never came to write is not made up.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from eos_platform.common.errors import EosError
from eos_platform.common.files import read_text, write_atomic
from eos_platform.engine.store import stored_trial as stored

OPEN = ("PENDING", "RUNNING", "PAUSED")


@dataclass(frozen=True)
class RayTrial:
    """One trial as Tune has it."""

    ray_id: str
    number: int
    status: str  # PENDING | RUNNING | PAUSED | TERMINATED | ERROR


def read(storage: Path) -> dict[str, RayTrial]:
    """All trials of all drivers of a study, by Ray's id."""
    trials = {}
    for path in _files(storage):
        for trial, _ in _trials(path):
            with suppress(KeyError, TypeError, ValueError):  # of another form than Tune gives it
                trials[trial["trial_id"]] = RayTrial(trial["trial_id"], int(trial["config"]["number"]), trial["status"])
    return trials


def close(storage: Path, trials: Iterable[FrozenTrial]) -> int:
    """Give every trial that a dead driver left open the status its outcome in the store has. How many.

    Only while no driver of the study runs.
    """
    ended = {
        trial.user_attrs[stored.RAY_ID]: "TERMINATED" if stored.ended_well(trial) else "ERROR"
        for trial in trials
        if stored.RAY_ID in trial.user_attrs and trial.state.is_finished()
    }
    repaired = 0
    for path in _files(storage):
        with suppress(Exception):  # a snapshot is a copy: no reason to stop a study
            whole = json.loads(read_text(path, "snapshot"))
            changed = 0
            for entry in whole["trial_data"]:
                trial = json.loads(entry[0])
                if trial["status"] in OPEN:
                    trial["status"] = ended.get(trial["trial_id"], "ERROR")
                    entry[0] = json.dumps(trial, indent=2)
                    changed += 1
            if changed:
                write_atomic(path, json.dumps(whole, indent=2))
                repaired += changed
    return repaired


def _files(storage: Path) -> Iterator[Path]:
    """The latest snapshot of every driver."""
    for folder in sorted(storage.glob("tune-*")):
        if files := sorted(folder.glob("experiment_state-*.json")):
            yield files[-1]


def _trials(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    try:
        for trial, metadata in json.loads(read_text(path, "snapshot"))["trial_data"]:
            yield json.loads(trial), json.loads(metadata)
    except (EosError, ValueError, KeyError, TypeError, RecursionError):
        return
