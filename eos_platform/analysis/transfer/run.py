"""Fill a matrix: searches anew first, then what rests on them; what is measured already is not measured again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from eos_platform.analysis.transfer.cells import Record, measure
from eos_platform.analysis.transfer.places import Place
from eos_platform.analysis.transfer.plan import ANEW, UNREDUCED, Item, Settings, first_items, places_by_name, transfers
from eos_platform.analysis.transfer.store import Cells
from eos_platform.common.errors import EosError, unknown
from eos_platform.models.runtime.operator_source import REGISTRY, operator_from
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.base import Subject

Steps = Callable[[Item, int], None]
LONGEST = 150  # characters of a file's name
Sources = Mapping[str, tuple[OperatorSpec, Place | None]]
Perform = Callable[[list[Item], Settings, Sources], Iterable[Record]]


def run(settings: Settings, folder: Path, perform: Perform, notify: Callable[[Record], None] | None = None) -> Cells:
    """All cells of a matrix.

    Args:
        settings: of the matrix.
        folder: where it is kept; the same call again goes on.
        perform: measures cells (``here``, or the engine's on a cluster).
        notify: is told each record.

    Raises:
        EosError: the folder holds another matrix, or an operator's file that is none.
    """
    files = [operator_of(file) for file in settings.operators]
    cells = Cells(folder, settings)
    for stage in (first_items, transfers):
        left = cells.left(stage(settings))
        for record in perform(left, settings, _sources(settings, cells, files)):
            cells.add(record)
            if record["kind"] == ANEW and record["status"] == "measured":
                name = _file(f"{record['place']}-{record['budget']:g}-{record['seed']}")
                OperatorSpec.model_validate(record["operator"]).save(folder / "operators" / f"{name}.json")
            if notify is not None:
                notify(record)
    return cells


def operator_of(file: str) -> tuple[str, OperatorSpec]:
    """An operator's file, or one in MLflow's registry, by the name its row has."""
    registered = file.removeprefix(REGISTRY)
    return Path(file).stem if registered == file else registered.replace("/", "-"), operator_from(file)


def _file(name: str) -> str:
    """A file's name that any file system takes."""
    return re.sub(r"[^\w.+-]+", "-", name)[:LONGEST]


def source_key(name: str, budget: float, seed: int) -> str:
    """Under which an operator found anew is known."""
    return f"{name}|{budget:g}|{seed}"


def _sources(settings: Settings, cells: Cells, files: Sequence[tuple[str, OperatorSpec]]) -> Sources:
    places = places_by_name(settings)
    found: dict[str, tuple[OperatorSpec, Place | None]] = {}
    for record in cells.records.values():
        if record["kind"] == ANEW and record["status"] == "measured" and record["place"] in places:
            key = source_key(record["place"], record["budget"], record["seed"])
            found[key] = OperatorSpec.model_validate(record["operator"]), places[record["place"]]
    for name, operator in files:
        for budget in settings.budgets:
            found[source_key(name, budget, 0)] = operator, None
    return found


def here(
    device: str | None = None,
    steps: Callable[[Item, int, Mapping[str, float]], None] | None = None,
    states: Path | None = None,
) -> Perform:
    """Cells one after the other, in this process; those of a place together.

    Args:
        device: where to run.
        steps: is told the steps of searches.
        states: folder of interrupted searches.
    """
    loaded: dict[Place, Subject] = {}

    def perform(items: list[Item], settings: Settings, sources: Sources) -> Iterator[Record]:
        places = places_by_name(settings)

        def load(place: Place) -> Subject:
            place = place.questions
            if place not in loaded:
                while len(loaded) > 1:  # a model and the one its operators are from
                    loaded.pop(next(iter(loaded)))
                loaded[place] = place.load(device)
            return loaded[place]

        for item in items:
            if item.place not in places:
                raise EosError(str(unknown("place", item.place, places)))
            place = places[item.place]
            workload = load(place)
            given = sources.get(source_key(item.source, item.budget, item.seed))
            state = states / _file(item.key) if states is not None else None
            yield measure(
                item,
                workload,
                settings,
                None if item.kind in (UNREDUCED, ANEW) else given,
                lambda origin, asked=place: load(Place(origin.model, asked.task)),  # type: ignore[misc]
                None if steps is None else lambda step, curves, now=item: steps(now, step, curves),  # type: ignore[misc]
                state,
            )

    return perform


def grouped(items: Iterable[Item]) -> list[list[Item]]:
    """Cells that are best measured by one worker, one after the other: those of a place, a budget and a seed."""
    groups: dict[tuple[str, float, int], list[Item]] = {}
    for item in items:
        groups.setdefault((item.place, item.budget, item.seed), []).append(item)
    return list(groups.values())


def total_of(settings: Settings) -> int:
    """How many cells."""
    return len(first_items(settings)) + len(transfers(settings))
