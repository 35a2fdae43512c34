"""How many files a reader opens, and how often, to follow three things through the code.

    python tests/release/walks.py                # the three walks of the code that is installed; also of the release's
    python tests/release/walks.py front --list   # one of them, module by module

``attach``: an operator's file until its hooks are on the model. ``front``: the accuracy of one search from the worker
that measured it until the front is a table of the dashboard, through Ray Tune, the store and MLflow.
``loss``: a batch of questions until its gradient. Counted are modules of the package in which a function is called
that, on the way of ``attach`` and ``front``, is handed the operator or the accuracy in some form, or returns it; on the
way of ``loss`` every function counts. A reader looks at a function once: at its first call. A module is visited again
when a function of it that has not been looked at comes after one of another module.

What runs in a thread of its own comes after what began before it. Not counted are properties, comprehensions, lambda
expressions, what Python calls by itself, and what reads and writes files and text for every part (``common``). It runs
under the code of the release with operator schema 1 too (commit 614d53b), whose modules have other places.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import io
import os
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from types import CodeType, FrameType, SimpleNamespace
from typing import Any

import torch

import eos_platform

ROOT = Path(eos_platform.__file__).parent
ACCURACY = 0.8123456789  # no other number of a study
FOR_ANYBODY = ("common/", "files", "errors")  # reads and writes files and text for every part


def module(*places: str) -> Any:
    """The module that is there under one of its names, today's first."""
    for place in places[:-1]:
        try:
            return importlib.import_module(f"eos_platform.{place}")
        except ModuleNotFoundError:
            continue
    return importlib.import_module(f"eos_platform.{places[-1]}")


class Walk:
    """The functions that one call leads through.

    Attributes:
        stays: modules in the order of the first calls of their functions, without repetition in a row.
        modules: each once.
        again: how often a module is opened that was open before.
    """

    def __init__(self, call: Callable[[], Any], carries: Callable[[Any], bool] | None = None) -> None:
        self._carries = carries
        self._places: dict[CodeType, str] = {}  # modules of functions; empty: not counted, or no more
        self._asking = threading.local()
        self._by_thread: dict[int, list[tuple[str, str]]] = {}  # modules and functions
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        try:
            call()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
        steps = [step for thread in self._by_thread.values() for step in thread]
        self.functions = [f"{place}: {name}" for place, name in steps]
        self.stays = [place for place, _ in groupby(place for place, _ in steps)]

    @property
    def modules(self) -> list[str]:
        return list(dict.fromkeys(self.stays))

    @property
    def again(self) -> int:
        return len(self.stays) - len(self.modules)

    def _note(self, frame: FrameType, event: str, returned: Any) -> None:
        code = frame.f_code
        if event not in ("call", "return") or getattr(self._asking, "on", False):
            return
        if code not in self._places:
            self._places[code] = place_of(code)
        place = self._places[code]
        if not place:
            return
        self._asking.on = True
        try:
            if is_property(frame) or not self._is_step(frame, event, returned):
                return
        finally:
            self._asking.on = False
        self._places[code] = ""  # looked at
        self._by_thread.setdefault(threading.get_ident(), []).append((place, code.co_name))

    def _is_step(self, frame: FrameType, event: str, returned: Any) -> bool:
        if self._carries is None:
            return event == "call"
        if event == "return":
            return self._carries(returned)
        code = frame.f_code
        many = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)
        many += bool(code.co_flags & inspect.CO_VARKEYWORDS)
        return any(self._carries(frame.f_locals.get(name)) for name in code.co_varnames[:many])


def place_of(code: CodeType) -> str:
    """The module of a function; empty where it is not counted."""
    file, name = Path(code.co_filename), code.co_name
    if ROOT not in file.parents or name[:1] == "<":
        return ""
    if name.startswith("__") and name not in ("__init__", "__call__", "__enter__", "__exit__"):
        return ""
    place = file.relative_to(ROOT).with_suffix("").as_posix()
    return "" if place.startswith(FOR_ANYBODY) else place


def is_property(frame: FrameType) -> bool:
    """Whether the function is read as an attribute."""
    owner = frame.f_locals.get("self")
    found = inspect.getattr_static(type(owner), frame.f_code.co_name, None)
    return owner is not None and not isinstance(found, (type(is_property), classmethod, staticmethod))


# ---- an operator through ``attach``


def attach(score: str = "uniqueness") -> Walk:
    """From the file of an operator with one site, which reads one feature, to the hooks."""
    spec = module("operators.spec")
    place = module("models.runtime.attach", "models.attach")
    forms: tuple[type, ...] = (spec.OperatorSpec,)
    with suppress(ModuleNotFoundError):
        forms += (module("operators.plan").OperatorPlan,)
    model = bundled()
    with tempfile.TemporaryDirectory() as folder:
        target = model.target
        site = spec.SiteSpec(layer=3, keep=16, beta=1.0, score={score: 1.0}, transfer=spec.Transfer(gamma=1.0))
        source = os.fspath(spec.OperatorSpec(target=target, sites=(site,)).save(Path(folder) / "operator.json"))

        def carries(value: Any) -> bool:
            return isinstance(value, forms) or (isinstance(value, (str, Path)) and str(value) == source)

        place.detach(place.attach(model.model, source))  # what is imported on the way has been
        walk = Walk(lambda: place.attach(model.model, source), carries)
        place.detach(model.model)
    return walk


def bundled() -> Any:
    """The small bundled model with its questions."""
    torch.set_num_threads(1)
    return module("tasks").load_workload("bundled-small", device="cpu")


# ---- a batch to its loss


def loss(workload: Any = None) -> Walk:
    """From a batch's questions to the gradient."""
    search = module("search")
    parameters, step = module("search.parameters"), module("search.step")
    teacher_states = module("search.objective").teacher_states
    workload = workload or bundled()
    config = search.SearchConfig(budget=0.15, steps=10, batch_size=4, search_questions=32, eval_questions=8)
    encoded = workload.encoded("search", 32)
    made = {"features": workload.features} if hasattr(workload, "features") else {}
    values = parameters.Parameters(config, workload.target, workload.shape.hidden, *made.values())
    if hasattr(step.Stepper, "gradient"):
        stepper = step.Stepper(workload, config, values, encoded)
        stepper.teacher_qad = teacher_states(workload.model, encoded)
        run = stepper.gradient
    else:
        stepper = step.Stepper(workload, config, values, encoded, teacher_states(workload.model, encoded))
        run = stepper._body
    stepper.budget.fill_(config.budget)
    stepper.index_b = torch.arange(4)
    run(False, 96)  # what is imported on the way has been
    return Walk(lambda: run(False, 96))


# ---- a trial's metrics to the front


def front() -> Walk:
    """From the search's result to the front: the store, MLflow and the dashboard's table."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder))
        # made and imported before: what is watched takes its time
        module("tracking.recorder").connect(study.folder.mlflow_uri).search_experiments()
        module("engine.driver"), module("dashboard_data.studies", "browse.studies")
        return Walk(study.trial, carries_accuracy)


def carries_accuracy(value: Any, depth: int = 6) -> bool:
    """Whether the accuracy is in it, in a form that a function can take out."""
    import pandas as pd
    from optuna.trial import FrozenTrial

    if isinstance(value, str):
        return str(ACCURACY) in value
    if isinstance(value, (int, float)):
        return value == ACCURACY
    if depth == 0 or value is None:
        return False
    parts: Iterator[Any]
    if isinstance(value, dict):
        parts = iter(list(value.values()))
    elif isinstance(value, (list, tuple, set)):
        parts = iter(list(value))
    elif isinstance(value, pd.DataFrame):
        parts = (one for column in value for one in value[column].tolist())
    elif isinstance(value, pd.Series):
        parts = iter(value.tolist())
    elif isinstance(value, FrozenTrial):
        parts = iter((value.values, value.user_attrs))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = (getattr(value, one.name, None) for one in dataclasses.fields(value))
    elif isinstance(value, SimpleNamespace):
        parts = iter(list(vars(value).values()))
    else:
        return False
    return any(carries_accuracy(one, depth - 1) for one in parts)


class Study:
    """A study of one search after another, in the driver's and a worker's own code; Ray hands reports to and fro."""

    def __init__(self, folder: Path) -> None:
        from rich.console import Console

        self.runs, self.console = folder / "runs", Console(file=io.StringIO(), width=200)
        schema = module("engine.schema.study_file", "engine.study_file")
        self.file = schema.StudyFile.of(
            {
                "name": "walk",
                "model": "fake",
                "search": {"steps": 4},
                "space": {"budget": {"choice": [0.2]}},
                "trials": 100,
            }
        )
        places = module("engine.store.run_dir", "engine.folder")
        make = places.run_dir_of if hasattr(places, "run_dir_of") else places.folder_of
        self.folder = make(self.file, self.runs)
        self.folder.prepare()

    @contextmanager
    def driver(self) -> Iterator[SimpleNamespace]:
        """What ``engine.driver.run_trials`` makes."""
        store = module("engine.store.optuna_store", "engine.store")
        writers = module("engine.sync.mlflow_writer", "engine.mirror")
        writers.PAUSE = 0.01
        callbacks = module("engine.callback", "engine.strategy.searcher")
        searchers = module("engine.strategy.searcher", "engine.searcher")
        displays = module("terminal.progress", "engine.progress")
        recorder = module("tracking.recorder").Recorder
        schedulers = module("engine.strategy.scheduler", "engine.scheduler")
        with store.open_store(self.folder, create=True) as optuna_study:
            uid, artifacts = optuna_study.user_attrs[store.UID], self.folder.mlflow_artifacts
            written = recorder(self.folder.mlflow_uri, self.file.name, uid, artifacts)
            written.describe(self.file.to_yaml(), "", {"varied": "budget"}, {"trials": 100})
            display = getattr(displays, "ProgressDisplay", None) or displays.Board
            counts = {"done": 0, "target": 100, "concurrent": 1}
            with (
                display(self.console, self.file.name, **counts) as shown,
                (getattr(writers, "MlflowWriter", None) or writers.Mirror)(written) as writer,
            ):
                searcher = searchers.StudySearcher(
                    optuna_study, self.file.space, self.file.search, run_of=writer.run_of
                )
                callback = (getattr(callbacks, "StudyCallback", None) or callbacks.Listener)(
                    searcher, writer, shown, self.folder
                )
                retry = getattr(searcher, "retry", None) or searcher.patience
                scheduler = schedulers.make_scheduler(self.file, optuna_study, searcher.live, retry)
                yield SimpleNamespace(
                    searcher=searcher, callback=callback, optuna=optuna_study, scheduler=scheduler, recorder=written
                )
            written.close("FINISHED")

    def trial(self) -> None:
        """One search, from the worker's call to the tables."""
        from ray.tune.utils.util import flatten_dict

        with self.driver() as driver:
            name = uuid.uuid4().hex[:8]
            trial = SimpleNamespace(trial_id=name, config=driver.searcher.suggest(name), last_result=None)
            driver.callback.on_trial_start(0, [], trial)
            reports: list[dict[str, Any]] = []
            module("engine.trial").run_trial(trial.config, self.job(), reports.append)
            for report in reports[:-1]:
                driver.callback.on_trial_result(0, [], trial, report)
            trial.last_result = reports[-1]
            driver.searcher.on_trial_complete(name, flatten_dict(reports[-1]))  # as Ray Tune does
            driver.callback.on_trial_complete(0, [], trial)
        studies = module("dashboard_data.studies", "browse.studies").Studies(self.folder.mlflow_uri)
        frame = studies.operators(self.file.name)
        assert frame["front"].any()
        assert (frame["accuracy"] == ACCURACY).any()

    def job(self) -> Any:
        """What the trials share; their search takes no time."""
        engine = module("engine.trial")
        functions = engine.Functions(load=load, search=search)
        return engine.Job(self.file.name, "fake", "scenes", str(self.folder.states), 1, functions)


def load(model: str, task: str, **options: Any) -> Any:
    """A model of no weights."""
    target = module("operators.spec").Target(layers=8, grid=(24, 24), model="fake")
    return SimpleNamespace(name=model, target=target, text_tokens=30, model=None)


def search(workload: Any, config: Any, *, report: Any, checkpoint: Path, **options: Any) -> Any:
    """A search that finds the accuracy that is looked for on the way."""
    spec = module("operators.spec")
    checkpoint.mkdir(parents=True, exist_ok=True)
    report(1, {"loss": 1.0})
    site = spec.SiteSpec(layer=0, keep=92, score={"norm": 1.0})
    operator = spec.OperatorSpec(target=workload.target, sites=(site,))
    return SimpleNamespace(
        operator=operator,
        accuracy=ACCURACY,
        compute_ratio=0.19,
        relaxed_accuracy=0.9,
        mean_tokens=operator.mean_tokens,
        samples=100,
        seconds=0.1,
        resumed=False,
        history=[],
    )


WALKS: dict[str, Callable[[], Walk]] = {"attach": attach, "front": front, "loss": loss}


def main() -> None:
    """Print what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("walks", nargs="*", help=f"of {', '.join(WALKS)}; default: all")
    parser.add_argument("--list", action="store_true", help="the modules in their order")
    parser.add_argument("--functions", action="store_true", help="the functions in their order")
    given = parser.parse_args()
    print(f"{'walk':8}{'modules':>8}{'stays':>7}{'opened again':>14}")
    for name in given.walks or WALKS:
        walk = WALKS[name]()
        print(f"{name:8}{len(walk.modules):8}{len(walk.stays):7}{walk.again:14}")
        for line in walk.stays if given.list else walk.functions if given.functions else ():
            print(f"    {line}")


if __name__ == "__main__":
    main()
