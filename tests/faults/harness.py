"""Hurt a study, let it come to its end, and count what was lost, done twice or left behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import fault_fakes as fakes
import optuna
from optuna.trial import FrozenTrial, TrialState

from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.store import stored_trial as stored
from eos_platform.engine.strategy.samplers import make_sampler
from eos_platform.engine.study import Study

HERE = Path(__file__).parent
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent", "dashboard/agent.py", "runtime_env/agent/main.py")
RESTARTS = 3  # of a driver that stopped by itself, for want of disk space or a store


@dataclass
class Outcome:
    """One line of the table."""

    kind: str
    injected: int
    target: int = 0
    finished: int = 0
    lost: int = 0  # finished once, and not any more; or never finished
    doubled: int = 0  # searches that came to their end more than once
    zombies: int = 0  # RUNNING in any store, or processes left
    records: int = 0  # compared in the three stores
    differing: int = 0
    unequal: int = 0  # searches whose figures are not those of a study left alone
    redone: int = 0  # steps done again after a kill
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing was lost, doubled, left behind, or came out otherwise."""
        return self.finished == self.target and not (
            self.lost or self.doubled or self.zombies or self.differing or self.unequal
        )


class Subject:
    """A study in a folder, driven by processes of its own.

    Args:
        runs: the folder.
        changes: to ``fault_fakes.study_file``; ``real`` for the true search.
        environment: of the driver and its workers.
    """

    def __init__(
        self, runs: Path, environment: dict[str, str] | None = None, address: str = "", **changes: Any
    ) -> None:
        self.runs, self.address = runs, address
        self.changes = runs.parent / f"{runs.name}.json"
        self.changes.parent.mkdir(parents=True, exist_ok=True)
        self.changes.write_text(json.dumps(changes))
        self.real = changes.pop("real", False)
        self.study = Study(fakes.study_file(**changes), runs=runs, functions=None if self.real else fakes.FUNCTIONS)
        path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **(environment or {})}
        self.output = runs.parent / f"{runs.name}.out"
        self.seen: dict[int, list[float]] = {}  # values of every trial ever seen COMPLETE
        self.lost: set[int] = set()
        self.killed: dict[int, str] = {}  # Ray's agents of drivers that were killed

    def drive(self) -> subprocess.Popen[bytes]:
        """Start a driver."""
        address = [self.address] if self.address else []
        with self.output.open("ab") as stream:
            return subprocess.Popen(
                [sys.executable, str(HERE / "fault_driver.py"), str(self.runs), str(self.changes), *address],
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )

    def trials(self) -> list[FrozenTrial]:
        """What the store has."""
        try:
            with store.open_store(self.study.folder, create=False) as optuna_study:
                return optuna_study.get_trials()
        except store.NotRun:
            return []

    def executions(self) -> list[dict[str, Any]]:
        """What the workers wrote down."""
        path = Path(self.environment.get("EOS_FAULT_LOG", self.study.folder.storage / fakes.LOG))
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def working(self) -> list[int]:
        """Processes in the middle of a search."""
        last: dict[str, dict[str, Any]] = {line["search"]: line for line in self.executions()}
        return [line["pid"] for line in last.values() if line["what"] != "end" and alive(line["pid"])]

    def watch(self) -> None:
        """Note what is finished; what was and is not any more is lost."""
        now = {trial.number: trial.values for trial in self.trials() if trial.state == TrialState.COMPLETE}
        self.lost |= {number for number, values in self.seen.items() if now.get(number) != values}
        self.seen |= now

    def under_way(self, driver: subprocess.Popen[bytes], begun: int, seconds: float = 120) -> bool:
        """Wait until this driver runs searches; False when it ended before."""
        return wait_for(lambda: len(self.executions()) > begun or driver.poll() is not None, seconds) and (
            driver.poll() is None
        )

    def kill(self, driver: subprocess.Popen[bytes]) -> list[int]:
        """SIGKILL the driver alone; processes of its that are still there half a minute later.

        Ray's two agents of a node need up to a minute to notice; they are looked at in ``measure``.
        """
        mine = {pid: command(pid) for pid in descendants(driver.pid)}
        driver.kill()
        driver.wait()
        agents = {pid: what for pid, what in mine.items() if any(agent in what for agent in AGENTS)}
        self.killed |= agents
        others = [pid for pid in mine if pid not in agents]
        wait_for(lambda: not any(map(alive, others)), 30)
        left = [pid for pid in others if alive(pid)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return left

    def _agents(self) -> list[int]:
        return [pid for pid, what in self.killed.items() if alive(pid) and command(pid) == what]

    def finish(self, driver: subprocess.Popen[bytes] | None = None, seconds: float = 600) -> None:
        """Let the study come to its end, started again as a scheduler would."""
        for _ in range(RESTARTS):
            driver = driver or self.drive()
            if driver.wait(seconds) == 0:
                return
            driver = None
        raise AssertionError(self.output.read_text()[-4000:])

    def measure(self, outcome: Outcome, reference: dict[str, list[float]] | None = None) -> Outcome:
        """Fill in what the stores and the workers' own notes say."""
        self.watch()
        trials = self.trials()
        differences = self.study.check()
        outcome.target = self.study.file.trials
        outcome.finished = len(stored.finished(trials))
        outcome.lost = len(self.lost) + max(0, outcome.target - outcome.finished)
        ends = Counter(line["search"] for line in self.executions() if line["what"] == "end")
        results = Counter(stored.root(trials, trial.number) for trial in stored.finished(trials))
        outcome.doubled = sum(count > 1 for count in ends.values()) + sum(count > 1 for count in results.values())
        wait_for(lambda: not self._agents(), 90)
        outcome.zombies += len(self._agents())
        outcome.zombies += sum("RUNNING" in line or "PENDING" in line for line in differences)
        outcome.records = sum(trial.state != TrialState.WAITING for trial in trials)
        outcome.differing = len(differences)
        outcome.notes += differences[:5]
        steps = Counter((line["search"], line["step"]) for line in self.executions() if line["what"] == "step")
        outcome.redone = sum(count - 1 for count in steps.values())
        if reference is not None:
            outcome.unequal = len(set(figures(trials).items()) ^ set(reference.items()))
        return outcome


def figures(trials: list[FrozenTrial]) -> dict[str, Any]:
    """What each search found, by its parameters."""
    return {
        json.dumps(trial.params, sort_keys=True): tuple(trial.values)
        for trial in trials
        if trial.state == TrialState.COMPLETE
    }


def driver_kills(subject: Subject, count: int, rng: random.Random, most: float = 5.0) -> Outcome:
    """SIGKILL the driver at random moments: one in four while it starts, the others while searches run."""
    outcome, started = Outcome("driver SIGKILL", 0), time.monotonic()
    while outcome.injected < count:
        driver, begun = subject.drive(), len(subject.executions())
        if rng.random() < 0.25:
            time.sleep(rng.uniform(2.0, 12.0))
        elif subject.under_way(driver, begun):
            time.sleep(rng.uniform(0.0, most))
        if driver.poll() is not None:
            outcome.notes.append("the study ended before all kills")
            break
        outcome.zombies += len(subject.kill(driver))
        outcome.injected += 1
        subject.watch()
    subject.finish()
    outcome.seconds = time.monotonic() - started
    return outcome


def worker_kills(subject: Subject, count: int, rng: random.Random, most: float = 3.0) -> Outcome:
    """SIGKILL a worker in the middle of a search, at random moments, while one driver goes on."""
    outcome, started = Outcome("worker SIGKILL", 0), time.monotonic()
    driver = subject.drive()
    while outcome.injected < count and driver.poll() is None:
        if not wait_for(lambda: bool(subject.working()) or driver.poll() is not None, 120):
            break
        time.sleep(rng.uniform(0.0, most))
        if pids := subject.working():
            os.kill(rng.choice(pids), signal.SIGKILL)
            outcome.injected += 1
        subject.watch()
    subject.finish(driver)
    outcome.seconds = time.monotonic() - started
    return outcome


def outage(
    subject: Subject, kind: str, stop: Callable[[], None], start: Callable[[], None], times: int, seconds: float
) -> Outcome:
    """Take something away for a while, again and again, while one driver goes on."""
    outcome, started = Outcome(kind, 0), time.monotonic()
    driver, begun = subject.drive(), len(subject.executions())
    for _ in range(times):
        if not subject.under_way(driver, begun):
            break
        time.sleep(1.0)
        stop()
        time.sleep(seconds)
        start()
        outcome.injected += 1
        begun = len(subject.executions())
    subject.finish(driver)
    outcome.seconds = time.monotonic() - started
    return outcome


def reference_of(folder: Path, **changes: Any) -> dict[str, Any]:
    """The figures of the same study left alone."""
    subject = Subject(folder, **changes)
    subject.finish()
    return figures(subject.trials())


def expected_of(**changes: Any) -> dict[str, Any]:
    """The figures of a study of fakes that nobody hurts, worked out without running it."""
    file = fakes.study_file(**changes)
    optuna_study = optuna.create_study(directions=["maximize", "minimize"])
    found = {}
    for number in range(file.trials):
        optuna_study.sampler = make_sampler(file.sampler, number, file.trials, file.space)
        params = optuna_study.ask({name: one.distribution() for name, one in file.space.items()}).params
        values = fakes.figures(params["budget"], params["learning_rate"])
        found[json.dumps(params, sort_keys=True)] = values
    return found


def alive(pid: int) -> bool:
    """Whether a process runs (and is no zombie)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def command(pid: int) -> str:
    """The command line of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def descendants(pid: int) -> list[int]:
    """All processes a process started, and theirs."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it came to that."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


COLUMNS = ("kind", "injected", "target", "finished", "lost", "doubled", "zombies", "records", "differing", "unequal")


def table(outcomes: list[Outcome]) -> str:
    """Markdown."""
    columns = (*COLUMNS, "redone", "seconds")
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    for outcome in outcomes:
        values = asdict(outcome) | {"seconds": f"{outcome.seconds:.0f}"}
        lines.append(" | ".join(str(values[name]) for name in columns))
    lines = [f"| {line} |" for line in lines]
    return "\n".join([*lines, *(f"{one.kind}: {note}" for one in outcomes for note in one.notes)])
