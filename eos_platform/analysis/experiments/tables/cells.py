"""Cells of a table, measured by processes that share a device; each is a line of JSON as soon as it is done.

A cell is a model, a kind of measurement, a compute ratio and a seed. A file that holds a cell already is not asked to
hold it again, so that an interrupted table is finished by the same command.
"""

from __future__ import annotations

import argparse
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from eos_platform.common import console as terminal
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.tasks import load_workload
from eos_platform.tasks.base import Subject

Cell = tuple[str, str, float, int]  # model, kind, ratio, seed
Measured = Callable[[Any, Cell], dict[str, Any]]
Load = Callable[[str, str | None], Any]
Prepare = Callable[[Any, int, int], None]
PATIENCE = 600.0  # seconds, for other processes to be prepared


def cell_of(row: dict[str, Any]) -> Cell:
    """The cell that a row is of."""
    return row["model"], row["kind"], row["ratio"], row["seed"]


def row_of(cell: Cell) -> dict[str, Any]:
    """A row to begin with."""
    model, kind, ratio, seed = cell
    return {"model": model, "kind": kind, "ratio": ratio, "seed": seed}


def add_options(parser: argparse.ArgumentParser, out: str) -> None:
    """The options that ``measure_all`` reads; ``out``: the default file."""
    parser.add_argument("--processes", type=int, default=1, help="that share the device")
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--seconds", type=float, default=1e9, help="after so many, no further cell is begun")
    parser.add_argument("--device", help="default: the GPU if there is one")
    parser.add_argument("--out", type=Path, default=Path(out), help="one line a cell")


def read(path: Path) -> list[dict[str, Any]]:
    """Rows that a file holds; none where there is no file.

    Raises:
        EosError: it cannot be read, or holds anything else.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [strict_json.loads(line, str(path)) for line in lines]
    except OSError as error:
        raise EosError(f"{path}: {error}") from None


def loaded(model: str, device: str | None, task: str | None = None) -> Subject:
    """A model on a task; default: its own."""
    return load_workload(model, task, device)


def measure_all(
    cells: Sequence[Cell],
    measure: Measured,
    given: argparse.Namespace,
    told: Mapping[str, Any],
    load: Load = loaded,
    prepare: Prepare | None = None,
) -> list[dict[str, Any]]:
    """Measure what the file lacks.

    Args:
        cells: the whole table, cells of a model together, as each process keeps the last model it loaded.
        measure: a function of a module, or a ``partial`` of one, as other processes get it.
        given: the options of ``add_options``.
        told: what all rows of this table say besides; a file's rows that say otherwise are of another table.
        load: what ``measure`` is handed, by the cell's model and the device; like it, a function of a module.
        prepare: what each of several processes does first, with what was loaded, its number and how many there are;
            none goes on before all have done it. Like ``measure``, a function of a module.

    Returns:
        the table's rows as far as there are any; a cell that failed is said, and tried again by the next call.
    """
    told = dict(strict_json.loads(strict_json.dumps(strict_json.plain(told))))  # as it is read back

    def rows() -> list[dict[str, Any]]:
        same = [row for row in read(given.out) if all(row.get(name) == value for name, value in told.items())]
        return [row for row in same if cell_of(row) in cells]

    have = {cell_of(row) for row in rows()}
    left = [cell for cell in cells if cell not in have]
    for number, row in enumerate(_rows(left, measure, given, load, prepare)):
        model, kind, ratio, seed = cell_of(row)
        label = f"{number + 1} of {len(left)}: {model} {kind} at {ratio:g}, seed {seed}"
        if "failed" in row:
            terminal.say(f"{label}: {row['failed']}", stderr=True)
            continue
        with given.out.open("a", encoding="utf-8") as file:
            file.write(strict_json.dumps(strict_json.plain({**row, **told})) + "\n")
        terminal.say(f"{label}: {row['heldout']:.2%} {row.get('start', '')}".rstrip())
    return rows()


def _rows(
    left: Sequence[Cell], measure: Measured, given: argparse.Namespace, load: Load, prepare: Prepare | None
) -> Iterator[dict[str, Any]]:
    until = time.time() + given.seconds
    if not left:
        return
    if given.processes == 1:
        yield from _work(left, measure, load, given.device, given.threads, until)
        return
    context = multiprocessing.get_context("spawn")
    todo, done = context.Queue(), context.Queue()
    met = context.Barrier(given.processes) if prepare else None
    workers = [
        context.Process(
            target=_from_queue,
            args=(todo, done, (prepare, met, number), left[0][0], measure, load, given.device, given.threads, until),
        )
        for number in range(given.processes)
    ]
    for cell in [*left, *[None] * given.processes]:
        todo.put(cell)
    for worker in workers:
        worker.start()
    ended = 0
    while ended < len(workers):
        row = done.get()
        if row is None:
            ended += 1
        else:
            yield row
    for worker in workers:
        worker.join()


def _from_queue(
    todo: Any,
    done: Any,
    first: tuple[Prepare | None, Any, int],
    model: str,
    measure: Measured,
    load: Load,
    device: str | None,
    threads: int,
    until: float,
) -> None:
    (prepare, met, number), ready = first, None
    if prepare is not None:
        torch.set_num_threads(max(1, threads))
        try:
            ready = load(model, device)
            prepare(ready, number, met.parties)
        except Exception as error:  # what is not prepared is made later, or fails again there
            terminal.say(f"process {number + 1}: {type(error).__name__}: {error}"[:500], stderr=True)
        with suppress(threading.BrokenBarrierError):  # one has died: the others go on
            met.wait(PATIENCE)
    for row in _work(iter(todo.get, None), measure, load, device, threads, until, (model, ready)):
        done.put(row)
    done.put(None)


def _work(
    cells: Iterable[Cell],
    measure: Measured,
    load: Load,
    device: str | None,
    threads: int,
    until: float,
    ready: tuple[str, Any] = ("", None),
) -> Iterator[dict[str, Any]]:
    torch.set_num_threads(max(1, threads))
    last, workload = ready if ready[1] is not None else ("", None)
    for cell in cells:
        if time.time() > until:
            continue
        try:
            if last != cell[0]:
                workload, last = load(cell[0], device), cell[0]
            yield measure(workload, cell)
        except Exception as error:  # one cell's; the others go on
            yield row_of(cell) | {"failed": f"{type(error).__name__}: {error}"[:500]}
