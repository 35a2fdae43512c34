"""The kinds of faults, each as a function of a folder, how often, and random moments."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from harness import (
    Outcome,
    Subject,
    driver_kills,
    expected_of,
    outage,
    reference_of,
    wait_for,
    worker_kills,
)
from optuna.trial import TrialState
from servers import MlflowServer, Nodes, Postgres

from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored

STEPS = {"steps": 40}  # two seconds a search
AWAY = 15.0  # seconds a server is down
SPACE = {"budget": {"float": [0.05, 0.5], "log": True}, "learning_rate": {"float": [0.01, 0.1]}}
REAL = {
    "real": True,
    "model": "bundled-small",
    "search": {"steps": 24, "batch_size": 8, "search_questions": 96, "eval_questions": 64},
    "space": {"budget": {"float": [0.15, 0.4], "log": True}},
    "trials": 3,
    "concurrent": 1,
    "final": {"questions": 64, "baselines": []},
}


def driver(folder: Path, count: int, rng: random.Random) -> Outcome:
    """SIGKILL of the driver, and of Ray with it."""
    changes = {"trials": max(4, 3 * count), "search": STEPS}
    subject = Subject(folder / "hurt", **changes)
    return subject.measure(driver_kills(subject, count, rng), expected_of(**changes))


def worker(folder: Path, count: int, rng: random.Random) -> Outcome:
    """SIGKILL of a worker in the middle of a search."""
    changes = {"trials": max(4, count), "search": STEPS}
    subject = Subject(folder / "hurt", **changes)
    return subject.measure(worker_kills(subject, count, rng), expected_of(**changes))


def raylet(folder: Path, count: int, rng: random.Random) -> Outcome:
    """SIGKILL of a node's raylet while searches run on it; another node joins."""
    changes = {"trials": 6 * max(1, count), "search": STEPS}
    folder.mkdir(parents=True, exist_ok=True)
    outcome, started = Outcome("raylet SIGKILL", 0), time.monotonic()
    with Nodes() as nodes:
        subject = Subject(folder / "hurt", nodes.environment, nodes.address, **changes)
        process, begun = subject.drive(), 0
        while outcome.injected < count and subject.under_way(process, begun):
            time.sleep(rng.uniform(0.5, 2.0))
            nodes.kill_one()
            nodes.join()
            outcome.injected += 1
            begun = len(subject.executions())
        subject.finish(process)
        outcome.seconds = time.monotonic() - started
        return subject.measure(outcome, expected_of(**changes))


def mlflow(folder: Path, count: int, rng: random.Random) -> Outcome:
    """SIGKILL of the MLflow server, for 15 s."""
    folder.mkdir(parents=True, exist_ok=True)
    with MlflowServer(folder) as server:
        changes = {"trials": 10 + 10 * count, "search": STEPS, "stores": {"mlflow": server.url}}
        subject = Subject(folder / "hurt", **changes)
        outcome = outage(subject, "MLflow server down 15 s", server.kill, server.start, count, AWAY)
        return subject.measure(outcome, expected_of(**changes))


def postgres(folder: Path, count: int, rng: random.Random) -> Outcome:
    """SIGKILL of PostgreSQL, for 15 s."""
    with Postgres(folder) as server:
        changes = {"trials": 10 + 10 * count, "search": STEPS, "stores": {"optuna": server.url("optuna")}}
        subject = Subject(folder / "hurt", **changes)
        outcome = outage(subject, "PostgreSQL down 15 s", server.kill, server.start, count, AWAY)
        return subject.measure(outcome, expected_of(**changes))


def disk(folder: Path, count: int, rng: random.Random) -> Outcome:
    """The disk of the runs folder is full for a while. Needs the right to mount."""
    place = folder / "small-disk"
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)], check=True)
    try:
        outcome, started = Outcome("disk full", 0), time.monotonic()
        changes = {"trials": 8 + 6 * count, "search": STEPS}
        log = {"EOS_FAULT_LOG": str(folder / "executions.log"), "EOS_FAULT_SIZE": "100000"}
        subject = Subject(place / "runs", log, **changes)
        subject.output = folder / "disk.out"
        filler, begun = place / "filler", 0
        while outcome.injected < count:
            process = subject.drive()
            if subject.under_way(process, begun):
                time.sleep(rng.uniform(0.5, 2.0))
                fill(filler)
                outcome.injected += 1
                wait_for(lambda process=process: ended(process), 6.0)
                filler.unlink()
            process.wait(180)
            subject.watch()
            begun = len(subject.executions())
        subject.finish()
        outcome.seconds = time.monotonic() - started
        return subject.measure(outcome, expected_of(**changes))
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(path: Path) -> None:
    """Take all the space there is."""
    with path.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    stream.write(b"\0" * size)
            except OSError:
                continue


def _queued(folder: Path, kind: str, behaviour: int, count: int, reason: str, environment: dict[str, str]) -> Outcome:
    """``count`` searches of that behaviour among as many good ones."""
    changes = {
        "trials": 2 * count,
        "space": {**SPACE, "search_questions": {"choice": [1, behaviour]}},
    }
    subject, outcome, started = Subject(folder / "hurt", environment, **changes), Outcome(kind, count), time.monotonic()
    subject.study.folder.prepare()
    with store.open_store(subject.study.folder, create=True) as optuna_study:
        for number in range(2 * count):
            params = {"budget": 0.1 + 0.01 * number, "learning_rate": 0.05}
            optuna_study.enqueue_trial({**params, "search_questions": behaviour if number % 2 else 1})
    subject.finish()
    outcome.seconds = time.monotonic() - started
    subject.measure(outcome)
    for trial in subject.trials():
        bad = trial.params["search_questions"] == behaviour
        failed = trial.state == TrialState.FAIL and reason in trial.user_attrs.get(stored.FAILURE, "")
        if failed != bad:
            outcome.unequal += 1
            outcome.notes.append(f"trial {trial.number}: {trial.state.name} {trial.user_attrs.get(stored.FAILURE)}")
    return outcome


def nan(folder: Path, count: int, rng: random.Random) -> Outcome:
    """Objectives that are no numbers: failed trials, never on the front."""
    return _queued(folder, "NaN", 2, count, "accuracy is nan", {})


def killed_for_memory(folder: Path, count: int, rng: random.Random) -> Outcome:
    """Searches whose process is killed at the same place however often it starts, as the kernel does."""
    return _queued(folder, "out of memory (kernel)", 3, count, "got no further", {})


def memory(folder: Path, count: int, rng: random.Random) -> Outcome:
    """Searches that take memory until Ray's own monitor kills them: 2 GB above what is used now."""
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(meminfo[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    threshold = (total - free + (2 << 20)) / total
    watched = {"RAY_memory_usage_threshold": f"{threshold:.4f}", "RAY_memory_monitor_refresh_ms": "100"}
    return _queued(folder, "out of memory (Ray)", 4, count, "got no further", watched)


def real(folder: Path, count: int, rng: random.Random) -> Outcome:
    """The true search on a bundled model: the figures must be the very same after kills of the driver."""
    expected = reference_of(folder / "alone", **REAL)
    subject = Subject(folder / "hurt", **REAL)
    outcome, started = Outcome("driver SIGKILL, true search", 0), time.monotonic()
    while outcome.injected < count:
        process = subject.drive()
        states = subject.study.folder.storage / "states"
        # a search with a state of its own to go on from
        wait_for(lambda states=states, process=process: any(states.glob("*/search.safetensors")) or ended(process), 240)
        time.sleep(rng.uniform(0.0, 2.0))
        if process.poll() is not None:
            break
        outcome.zombies += len(subject.kill(process))
        outcome.injected += 1
        subject.watch()
    subject.finish()
    outcome.seconds = time.monotonic() - started
    subject.measure(outcome, expected)
    alone, hurt = ((folder / name / "faults" / "points.csv").read_text() for name in ("alone", "hurt"))
    if sorted(_comparable(alone)) != sorted(_comparable(hurt)):
        outcome.unequal += 1
        outcome.notes.append("the held-out comparison differs")
    return outcome


def ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a driver is gone."""
    return process.poll() is not None


def _comparable(points: str) -> list[str]:
    """Points without the number of the trial: that of a retry is another."""
    head, *lines = points.splitlines()
    wanted = [index for index, name in enumerate(head.split(",")) if name not in ("name", "trial")]
    return [",".join(line.split(",")[index] for index in wanted) for line in lines]


KINDS: dict[str, Callable[[Path, int, random.Random], Outcome]] = {
    "driver": driver,
    "worker": worker,
    "raylet": raylet,
    "mlflow": mlflow,
    "postgres": postgres,
    "disk": disk,
    "nan": nan,
    "kernel-memory": killed_for_memory,
    "memory": memory,
    "real": real,
}
