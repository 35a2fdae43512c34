"""Measure everything a comparison holds, one line of JSON each; what is on disk already is not measured again."""

from __future__ import annotations

import re
import time
from typing import Any

from eos_platform.analysis.comparison import store
from eos_platform.analysis.comparison.measure import Record, measure
from eos_platform.analysis.comparison.pictures import examples
from eos_platform.analysis.comparison.plan import Entry, is_fixed, plan
from eos_platform.analysis.comparison.progress import Lines, make_progress
from eos_platform.analysis.comparison.settings import Settings
from eos_platform.analysis.comparison.tune import tune
from eos_platform.common.errors import EosError
from eos_platform.common.files import check_writable
from eos_platform.costs.match import match
from eos_platform.operators.designs import get_design
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.config import SearchConfig
from eos_platform.search.run import search
from eos_platform.tasks import evaluate, load_workload
from eos_platform.tasks.base import Subject

LONGEST = 80  # characters of an operator file's name


def run(settings: Settings, device: str | None = None) -> list[Record]:
    """Measure, into ``settings.out``; all records of the folder.

    An interruption loses at most the measurement under way; the same call again goes on.

    Raises:
        EosError: bad settings, or a folder that holds another comparison.
    """
    folder = settings.out
    check_writable(folder / store.RESULTS)
    workload = load_workload(
        settings.model,
        settings.task,
        device,
        trust_remote_code=settings.trust_remote_code,
        allow_missing=settings.allow_missing,
    )
    entries = plan(settings, workload)
    encoded = workload.encoded("heldout", settings.questions)
    header = store.begin(folder, store.describe(settings, workload, encoded, examples(encoded, settings.pictures)))
    shown = [example["question"] for example in header["examples"]]
    # what had no result is tried again: that costs little, and the design may be another by now
    known = {record["key"] for record in store.read_records(folder) if record["status"] == "measured"}
    left = [entry for entry in entries if entry.key not in known]
    with make_progress(len(entries), len(entries) - len(left)) as progress:
        for entry in left:
            progress.working(entry.name)
            record = _record(entry, workload, settings, shown, progress)
            store.append(folder, record)
            progress.finished(record)
    return store.read_records(folder)


def _record(entry: Entry, workload: Subject, settings: Settings, shown: list[int], progress: Lines) -> Record:
    record: Record = {
        "key": entry.key,
        "name": entry.name,
        "family": entry.family,
        "variant": entry.variant,
        "design": entry.design,
        "ratio": entry.ratio,
        "seed": entry.seed,
        "status": "measured",
        "knobs": {},
        "samples": 0,
    }
    try:
        operator, origin = _found(entry, workload, settings, progress)
        if operator is not None:
            workload.check(operator)
    except EosError as error:
        # a ratio a design cannot reach is a result, and a model it cannot work on; the rest was said before
        return {**record, "status": "unreachable", "reason": str(error)}
    if operator is not None:
        file = re.sub(r"[^\w.+-]+", "-", entry.name.removesuffix(".json)")).strip("-.")[:LONGEST]
        operator.save(settings.out / "operators" / f"{file}.json")
    measured = measure(
        workload,
        operator,
        questions=settings.questions,
        batch=settings.batch,
        shown=shown,
        profile=settings.device_profile,
    )
    return {**record, **measured, **origin}


def _found(
    entry: Entry, workload: Subject, settings: Settings, progress: Lines
) -> tuple[OperatorSpec | None, dict[str, Any]]:
    """The entry's operator, and what is to be said of how it came about."""
    if entry.family == "unreduced":
        return None, {}
    if entry.given is not None:
        return entry.given, _validation(entry.given, workload)
    if entry.family == "searched":
        return _search(entry, workload, settings, progress)
    assert entry.design
    design = get_design(entry.design)
    defaults = {knob.name: knob.default for knob in design.knobs(workload.target)}
    if is_fixed(entry.design):
        return design.build(workload.target, workload.target.tokens), {"knobs": defaults}
    assert entry.ratio is not None
    if entry.variant == "published":
        spec = match(design, entry.ratio, workload.target, workload.shape, workload.text_tokens)
        return spec, {"knobs": defaults}
    started = time.monotonic()

    def notify(done: int, trials: int, best: float) -> None:
        progress.working(entry.name, f"trial {done}/{trials}, best {best:.1%}")

    tuned = tune(workload, design, entry.ratio, trials=settings.tune, samples=settings.samples, notify=notify)
    return tuned.operator, {
        "knobs": tuned.knobs,
        "samples": tuned.samples,
        "tuning": {
            "accuracy": tuned.accuracy,
            "default_accuracy": tuned.default_accuracy,
            "trials": tuned.trials,
            "proposed": tuned.proposed,
            "questions": settings.samples // settings.tune,
            "seconds": time.monotonic() - started,
        },
    }


def _search(
    entry: Entry, workload: Subject, settings: Settings, progress: Lines
) -> tuple[OperatorSpec, dict[str, Any]]:
    assert entry.ratio is not None
    assert entry.seed is not None
    config = settings.search_config(entry.ratio, entry.seed)
    workload.encoded("search", config.search_questions)  # once for all searches, so in no search's time

    def report(step: int, curves: dict[str, float]) -> None:
        progress.working(entry.name, f"step {step}/{config.steps}")

    state = settings.out / "searches" / f"{entry.ratio:g}-seed{entry.seed}-{entry.detail}"
    result = search(workload, config, report=report, checkpoint=state)
    return result.operator, {
        "samples": result.samples,
        "validation": result.accuracy,
        "search": {
            "settings": settings.search,
            "relaxed_accuracy": result.relaxed_accuracy,
            "seconds": result.seconds,
        },
    }


def _validation(operator: OperatorSpec, workload: Subject) -> dict[str, Any]:
    """Accuracy to choose among searched operators by: the held-out questions are for reporting alone."""
    evaluation = evaluate(workload, operator, "validation", SearchConfig().eval_questions)
    return {"validation": evaluation.accuracy}
