"""Rows of what the ``datasets`` library keeps: folders of ``save_to_disk``, names on the Hub, streams."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from eos_platform.common.boundary import reading
from eos_platform.common.errors import EosError, brief
from eos_platform.common.extras import needed
from eos_platform.common.files import shown_path
from eos_platform.tasks.data.media import Cell, Spill
from eos_platform.tasks.data.readers.cells import bytes_in, present
from eos_platform.tasks.data.rows import Raw, Rows


def saved(path: Path, part: str = "") -> Rows:
    """Rows of a folder that ``datasets`` wrote with ``save_to_disk``.

    Args:
        path: the folder.
        part: the split of it; empty: the only one, or all one after another.

    Raises:
        EosError: no such folder, or no such split in it.
    """
    datasets, where = needed("datasets", "data", "a folder of save_to_disk"), shown_path(path)
    with reading(f"{where} cannot be read by datasets"):
        result = datasets.load_from_disk(str(path))
    yield from _of(result, where, part)


def named(name: str, part: str = "", config: str = "", streaming: bool = False) -> Rows:
    """Rows of a dataset by its name on the Hub, as ``datasets`` finds it (downloaded before, or now).

    Raises:
        EosError: none of that name, or it cannot be had from here.
    """
    datasets = needed("datasets", "data", "a dataset of the Hub")
    with reading(f"dataset '{brief(name)}' cannot be loaded"):
        result = datasets.load_dataset(name, config or None, streaming=streaming)
    yield from _of(result, name, part)


def _of(result: Any, where: str, part: str) -> Rows:
    if hasattr(result, "keys"):
        names = list(result.keys())
        if part and part not in names:
            raise EosError(f"{where} has no part '{part}', only {', '.join(names)}")
        for name in [part] if part else names:
            yield from _one(result[name], f"{where}: {name}" if len(names) > 1 else where)
    else:
        yield from _one(result, where)


def _one(table: Any, where: str) -> Rows:
    """Rows of one split; encoded pictures stay encoded."""
    datasets = needed("datasets", "data", "a dataset")
    features = table.features or {}
    pictures = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    lists = [
        name for name, feature in features.items() if isinstance(getattr(feature, "feature", None), datasets.Image)
    ]
    for name in pictures:
        table = table.cast_column(name, datasets.Image(decode=False))
    for name in lists:
        table = table.cast_column(name, type(features[name])(datasets.Image(decode=False)))
    if not hasattr(table, "__len__"):  # a stream: what it brings is put away
        spill = Spill()
        with reading(f"{where} cannot be read on"):
            for number, values in enumerate(table):
                yield Raw(f"{where}: row {number + 1}", _spilt(values, [*pictures, *lists], spill, number))
        return
    inside = {name: index for index, name in enumerate(pictures)}
    light = table.remove_columns(pictures) if pictures else table
    fetch = _Fetch(table)
    spill = Spill()
    for number in range(len(table)):
        values = light[number] if light.column_names else {}
        cells = {name: Cell(where, number, name, fetch.cell) for name in inside if fetch.holds(number, name)}
        yield Raw(f"{where}: row {number + 1}", {**_spilt(present(values), lists, spill, number), **cells})


class _Fetch:
    """Cells of a table that ``datasets`` has mapped."""

    def __init__(self, table: Any) -> None:
        self.table, self._lock = table, threading.Lock()
        self._full: dict[str, bool] = {}

    def holds(self, row: int, column: str) -> bool:
        """Whether there is anything in a cell."""
        if column not in self._full:
            self._full[column] = self.table.data.column(column).null_count == 0
        return self._full[column] or self.table[row][column] is not None

    def cell(self, row: int, column: str) -> bytes:
        """The bytes of a cell."""
        with self._lock:
            value = self.table.select_columns([column])[row][column]
        return bytes_in(value, column)


def _spilt(values: dict[str, Any], names: list[str], spill: Spill, number: int) -> dict[str, Any]:
    def put(value: Any, name: str) -> Any:
        return spill.keep(bytes_in(value, name), f"row {number + 1}, {name}") if value is not None else None

    return {
        name: ([put(one, name) for one in value] if isinstance(value, list) else put(value, name))
        if name in names
        else value
        for name, value in values.items()
        if value is not None
    }
