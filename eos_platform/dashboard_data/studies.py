"""The studies of a tracking store, read again only when something was written."""

from __future__ import annotations

import datetime
import shlex
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import pandas as pd
import plotly.graph_objects as go

from eos_platform.analysis.stats.intervals import unpaired_difference
from eos_platform.common import strict_json
from eos_platform.common.addresses import masked
from eos_platform.common.boundary import error_text, reading
from eos_platform.common.errors import EosError, shown, unknown
from eos_platform.common.files import read_text
from eos_platform.common.printable import unmarked
from eos_platform.dashboard_data import frames
from eos_platform.dashboard_data.describe import layers_of, sites_of
from eos_platform.dashboard_data.optuna_figures import optuna_figure
from eos_platform.dashboard_data.overlays import Overlays, kept_rows, on_pictures
from eos_platform.dashboard_data.ranking import blocks_of_store, figure_of, ranking_of, words_of
from eos_platform.dashboard_data.study_plan import log_fields
from eos_platform.objectives import from_json
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import Objective
from eos_platform.task_names import from_text, options_of
from eos_platform.tracking import names
from eos_platform.tracking.mlflow_ui.links import run_url
from eos_platform.tracking.notes import MOST as LONGEST
from eos_platform.tracking.notes import described, note_of, written_of
from eos_platform.tracking.reading.run_reader import RawRun, reader

if TYPE_CHECKING:
    from mlflow import MlflowClient

EVERY = 1.0  # seconds; a store is not asked more often, however many pages are open


@dataclass
class _Held:
    """What is in memory of one study."""

    parent: RawRun
    runs: dict[str, RawRun] = field(default_factory=dict)
    version: int = 0
    worked: dict[tuple[str, Any], Any] = field(default_factory=dict)  # of this version
    lock: threading.RLock = field(default_factory=threading.RLock)
    stamp: str | None = None
    stale: bool = False  # every run is to be read again


class Studies:
    """Answers what the pages ask; safe to be asked by several threads.

    Args:
        uri: MLflow tracking URI.
        interface: address of an MLflow UI over the same store, for links.

    Raises:
        EosError: no such store.
    """

    def __init__(self, uri: str, interface: str = "http://127.0.0.1:5000") -> None:
        self.uri = uri
        self.interface = (masked(uri) if uri.startswith(("http://", "https://")) else interface).rstrip("/")
        self._reader = reader(uri)
        self._held: dict[str, _Held] = {}
        self._lock = threading.RLock()
        self._looked, self._stamp = 0.0, ""
        self._specs: dict[str, OperatorSpec | None] = {}
        self._overlays = Overlays()
        self._client: MlflowClient | None = None
        self._ranks: tuple[Any, tuple[go.Figure, str] | None] | None = None

    def close(self) -> None:
        """End what was started to answer."""
        self._overlays.close()

    def names(self) -> list[str]:
        """Studies and comparisons, the latest first."""
        self._look()
        return list(self._held)

    def listing(self) -> pd.DataFrame:
        """One row a study: name, kind, model, task, state, trials, target, front, best, updated, description."""
        return pd.DataFrame([self._line(name) for name in self.names()])

    def ranks(self) -> tuple[go.Figure, str] | None:
        """Methods ranked over the store's comparisons, drawn and in words; none before there are two to rank over."""
        compared = [name for name in self.names() if self.facts(name)["comparison"]]
        key = tuple((name, self.version(name)) for name in compared)
        if self._ranks is None or self._ranks[0] != key:
            ranking = ranking_of(blocks_of_store(self)) if len(compared) > 1 else None
            self._ranks = key, None if ranking is None else (figure_of(ranking), words_of(ranking))
        return self._ranks[1]

    def version(self, study: str) -> int:
        """Grows when the study changed; cheap."""
        held = self._study(study)
        stamp = self._reader.stamp()
        with held.lock:
            if stamp and stamp == held.stamp:
                return held.version
            runs = self._reader.children(held.parent, {} if held.stale else held.runs)
            held.stamp, held.stale = stamp, False
            if runs != held.runs:
                held.runs, held.worked = runs, {}
                held.version += 1
            return held.version

    def facts(self, study: str) -> dict[str, Any]:
        """name, model, task, target (trials planned), description, state, comparison (bool), link (MLflow)."""
        parent = self._study(study).parent
        plan = parent.tags.get(names.PLAN + "trials", "")
        return {
            "name": study,
            "model": parent.params.get("model") or study.removeprefix("compare "),
            "task": parent.params.get("task", "scenes"),
            "target": int(plan) if plan.isdigit() else None,
            "description": unmarked(parent.tags.get(names.NOTE, "").split("\n")[0].strip("# ")),
            "state": frames.DONE.get(parent.status, "failed"),
            "comparison": study.startswith("compare "),
            "link": self._link(parent),
        }

    def plan(self, study: str) -> dict[str, str]:
        """What the study was run with: its model, task, sampler, what it varied and when, in words."""
        parent = self._study(study).parent
        plan = {
            name.removeprefix(names.PLAN): text for name, text in parent.tags.items() if name.startswith(names.PLAN)
        }
        trials = self.settings(study)
        begun = {"begun": f"{datetime.datetime.fromtimestamp(parent.start):%Y-%m-%d %H:%M}"}
        spent = float(trials["seconds"].sum()) if len(trials) else 0.0
        varied = {"varied": ", ".join(self.varied(study))} if self.varied(study) else {}
        return {**parent.params, **varied, **plan, **begun, "time of the searches": f"{spent / 60:.1f} min"}

    def axes(self, study: str) -> tuple[Objective, ...]:
        """The study's objectives."""
        return from_json(self._study(study).parent.tags.get(names.OBJECTIVES))

    def measures(self, study: str) -> tuple[Objective, ...]:
        """What was measured of its operators: the objectives and every cost that a run holds, to draw against."""
        return self._work(study, ("measures", 0), lambda runs: frames.measures(self.operators(study), self.axes(study)))

    def operators(self, study: str, on: str = "best") -> pd.DataFrame:
        """``frames.operators_frame``; ``on`` "validation" measures all trials alike."""
        return self._work(
            study,
            ("operators", on),
            lambda runs: frames.operators_frame(runs, validation_only=on == "validation", axes=self.axes(study)),
        )

    def varied(self, study: str) -> list[str]:
        """Fields Optuna varied."""
        return self._work(study, ("varied", 0), lambda runs: frames.varied(self.operators(study)))

    def settings(self, study: str) -> pd.DataFrame:
        """Trials with those fields as columns."""
        return self._work(
            study, ("settings", 0), lambda runs: frames.settings(self.operators(study), self.varied(study))
        )

    def log_varied(self, study: str) -> list[str]:
        """Fields that the study's file varies on a logarithmic scale, as far as it is on this machine."""
        return self._work(
            study, ("log", 0), lambda runs: log_fields(self._path(self._study(study).parent, names.STUDY_FILE))
        )

    def curves(self, study: str, key: str) -> pd.DataFrame:
        """``curve``, ``step``, ``value`` of a search on its way: of the relaxed form, no result."""
        if key not in self._study(study).runs:
            raise unknown("run", key, [])
        return pd.DataFrame(self._reader.curves(key), columns=["curve", "step", "value"])

    def optuna_figure(self, study: str, kind: str, metric: str) -> go.Figure:
        """One of Optuna's own figures (``optuna_figures.KINDS``) of an objective, on validation questions."""
        axes = {one.metric: one for one in self.axes(study)}
        objective = axes.get(metric) or next(iter(axes.values()))
        trials, fields = self.settings(study), self.varied(study)
        space = {name: frames.distribution(trials[name]) for name in fields}
        column = frames.validation_column(objective)
        return self._work(
            study,
            ("optuna", (kind, objective.metric)),
            lambda runs: optuna_figure(kind, trials, fields, space, objective, column),
        )

    def progress(self, study: str) -> pd.DataFrame:
        """Hypervolume over time."""
        return self._work(study, ("progress", 0), lambda runs: frames.progress(self.operators(study), self.axes(study)))

    def importance(self, study: str) -> pd.DataFrame:
        """Of the varied fields."""
        return self._work(
            study, ("importance", 0), lambda runs: frames.importance(self.operators(study), self.axes(study))
        )

    def remaining(self, study: str) -> dict[str, Any]:
        """Counts and ETA."""
        facts = self.facts(study)
        target = facts["target"] if facts["state"] == "running" else None
        return frames.remaining(self.operators(study), target or facts["target"], time.time())

    def operator(self, study: str, key: str) -> OperatorSpec | None:
        """The operator of a run; none where a run has no operator file (the unreduced model, a failed trial)."""
        if key not in self._specs:
            run = self._study(study).runs[key]
            spec = self._fetch(run)
            if spec is None and run.status == "RUNNING":
                return None
            self._specs[key] = spec
        return self._specs[key]

    def commands(self, study: str, key: str) -> dict[str, str]:
        """Lines to copy (``attach``, ``cli``) and ``link``, the run in the MLflow UI."""
        facts = self.facts(study)
        model, words = facts["model"], options_of(from_text(facts["task"]), facts["model"])
        task = f" {shlex.join(words)}" if words else ""
        path = self._path(self._study(study).runs[key])
        fetch = f"mlflow artifacts download -r {key} -a {names.OPERATOR_FILE} -d ."
        file = str(path) if path else names.OPERATOR_FILE
        lead = "" if path else f"MLFLOW_TRACKING_URI={shlex.quote(masked(self.uri))} {fetch} && "
        return {
            "attach": f"model = eos_platform.attach(model, {strict_json.dumps(file)})",
            "cli": f"{lead}eos evaluate {shlex.quote(file)} --model {shlex.quote(model)}{task}",
            "explain": f"eos explain {shlex.quote(file)} --model {shlex.quote(model)}{task} --out explained",
            "link": self._link(self._study(study).runs[key]),
        }

    def difference(self, study: str, key: str, other: str) -> tuple[float, float, float, float] | None:
        """Accuracy of one operator minus another's, its 95 % interval and p (unpaired); none if measured on
        different questions."""
        rows = self.operators(study).set_index("key")[["accuracy", "questions", "measured_on"]]
        first, second = (rows.loc[one].to_dict() for one in (key, other))
        if first["measured_on"] != second["measured_on"] or not (first["questions"] > 0 and second["questions"] > 0):
            return None
        return unpaired_difference(
            float(first["accuracy"]), int(first["questions"]), float(second["accuracy"]), int(second["questions"])
        )

    def note(self, study: str, key: str) -> str:
        """What people wrote about a run, as it is now: it may have been changed on MLflow's page."""
        run = self._study(study).runs.get(key)
        if run is None:
            raise unknown("run", key, [])
        note = note_of(self._reader.tag(key, names.NOTE) or "")
        if note != run.tags.get(names.NOTE, ""):
            self._remember(study, run, note)
        return note

    def write_note(self, study: str, key: str, note: str) -> None:
        """Put people's note on a run, above what the platform wrote there.

        Raises:
            EosError: no such run, a note that is too long, or a store that takes none.
        """
        if len(note) > LONGEST:
            raise EosError(f"a note has at most {LONGEST} characters, this one {len(note)}")
        run = self._study(study).runs.get(key)
        if run is None:
            raise unknown("run", key, [])
        from eos_platform.tracking.client import TROUBLE

        written = written_of(self._reader.tag(key, names.NOTE) or "")
        try:
            self._writer().set_tag(key, names.NOTE, described(note, written))
        except TROUBLE as error:
            raise EosError(f"the note cannot be kept: {error_text(error)}") from None
        self._remember(study, run, note_of(described(note, written)))

    def _writer(self) -> MlflowClient:
        """MLflow's client, imported when it is needed: half of what the rest of a dashboard takes."""
        if self._client is None:
            from eos_platform.tracking.client import connect

            self._client = connect(self.uri)
        return self._client

    def _remember(self, study: str, run: RawRun, note: str) -> None:
        """Ended runs are not read again: what changed of one is put in its place."""
        held = self._study(study)
        tags = {name: text for name, text in run.tags.items() if name != names.NOTE} | (
            {names.NOTE: note} if note else {}
        )
        with held.lock:
            held.runs = {**held.runs, run.run_id: replace(run, tags=tags)}
            held.worked, held.version = {}, held.version + 1

    def diagram(self, study: str, key: str) -> tuple[pd.DataFrame, pd.DataFrame] | None:
        """Layers and sites of a run's operator (``describe``); none without an operator file."""
        spec = self.operator(study, key)
        return None if spec is None else (layers_of(spec), sites_of(spec))

    def kept(
        self, study: str, keys: Sequence[str], *, wait: bool = False
    ) -> tuple[pd.DataFrame, list[dict[str, Any]], dict[str, str]]:
        """For ``kept_figure``: rows, pictures; and for each operator without them, why ("working": not yet)."""
        operators = self.operators(study).set_index("key")
        rows: list[dict[str, Any]] = []
        pictures: list[dict[str, Any]] = []
        why: dict[str, str] = {}
        for key in keys:
            name, overlay = str(operators.at[key, "name"]), self.overlay(study, key, wait=wait)
            if isinstance(overlay, str):
                why[name] = overlay
            else:
                # recorded and worked out ones may show other pictures: those of the first, where the others have them
                pictures = pictures or overlay["pictures"]
                rows += kept_rows(name, on_pictures(overlay, pictures), 0.0)
        columns = ["column", "ratio", "picture", "origin", "size", "caption", "given", "worth"]
        return pd.DataFrame(rows, columns=columns), pictures, why

    def overlay(self, study: str, key: str, *, wait: bool = False) -> dict[str, Any] | str:
        """Tokens kept on example pictures and the answers given, or why there is none (yet)."""
        spec, run = self.operator(study, key), self._study(study).runs[key]
        kept, answers = self._text(run, names.KEPT_FILE), self._text(run, names.ANSWERS_FILE)
        if (kept or (answers and spec is None)) and (held := self._overlays.recorded(kept, answers)):
            return held
        if spec is None:
            return "This run has no operator file: nothing is removed, or nothing was found."
        facts = self.facts(study)
        return self._overlays.get(facts["model"], facts["task"], spec, wait=wait)

    def _look(self) -> None:
        with self._lock:
            now = time.monotonic()
            if self._held and now - self._looked < EVERY:
                return
            stamp = self._reader.stamp()
            if stamp and stamp == self._stamp:
                return
            self._looked, self._stamp = now, stamp
            latest: dict[str, RawRun] = {}
            for parent in self._reader.parents():  # newest first; a name used again means its latest study
                if names.UID in parent.tags:
                    latest.setdefault(parent.experiment, parent)
            held = {}
            for name, parent in latest.items():
                mine = self._held.get(name)
                if mine is None or mine.parent.run_id != parent.run_id:
                    mine = _Held(parent)
                elif mine.parent.end != parent.end or mine.parent.status != parent.status:
                    # tags of ended runs may have changed: the front was marked; until then the others serve
                    mine.stale, mine.stamp = True, None
                mine.parent = parent
                held[name] = mine
            self._held = held

    def _study(self, study: str) -> _Held:
        self._look()
        if study not in self._held:
            raise unknown("study", study, self._held)
        return self._held[study]

    def _work(self, study: str, what: tuple[str, Any], make: Any) -> Any:
        self.version(study)
        held = self._study(study)
        with held.lock:
            if what not in held.worked:
                with reading(f"study {shown(study)} cannot be read from its MLflow store"):
                    held.worked[what] = make(held.runs.values())
            return held.worked[what]

    def _line(self, name: str) -> dict[str, Any]:
        facts, operators = self.facts(name), self.operators(name)
        counts = self.remaining(name)
        front = operators[operators["front"]]
        return {
            "name": name,
            "kind": "comparison" if facts["comparison"] else "study",
            **{key: facts[key] for key in ("model", "task", "state", "description")},
            "trials": counts["done"],
            "target": counts["target"],
            "operators": int(operators["accuracy"].notna().sum()),
            "front": len(front),
            "best": front["accuracy"].max() if len(front) else None,
            "updated": max([self._study(name).parent.start, *operators["end"].dropna(), *operators["start"].dropna()]),
        }

    def _link(self, run: RawRun) -> str:
        return run_url(run.experiment_id, run.run_id, self.interface)

    def _fetch(self, run: RawRun) -> OperatorSpec | None:
        path = self._path(run)
        if path is not None:
            return OperatorSpec.load(path) if path.exists() else None
        from eos_platform.tracking.client import TROUBLE

        client = self._writer()
        try:
            if not any(file.path == names.OPERATOR_FILE for file in client.list_artifacts(run.run_id)):
                return None
            with tempfile.TemporaryDirectory() as folder:
                return OperatorSpec.load(client.download_artifacts(run.run_id, names.OPERATOR_FILE, folder))
        except TROUBLE as error:
            raise EosError(f"cannot fetch the operator of {run.name}: {error_text(error)}") from None

    def _text(self, run: RawRun, name: str) -> str | None:
        """What a file of the run holds, if it is on this machine."""
        file = self._path(run, name)
        return read_text(file, name) if file and file.exists() else None

    def _path(self, run: RawRun, name: str | None = None) -> Path | None:
        """Where a file of the run lies, if that is on this machine."""
        where = urlparse(run.artifacts)
        if where.scheme not in ("file", ""):
            return None
        path = Path(unquote(where.path)) / (name or names.OPERATOR_FILE)
        return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
