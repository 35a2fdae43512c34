"""Rows of Parquet files; pictures stay in their cells until wanted."""

from __future__ import annotations

import threading
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

from eos_platform.common.boundary import reading
from eos_platform.common.extras import needed
from eos_platform.common.files import check_regular, shown_path
from eos_platform.tasks.data.media import Cell
from eos_platform.tasks.data.readers.cells import bytes_in, present
from eos_platform.tasks.data.rows import Raw, Rows


def rows(path: Path) -> Rows:
    """Rows of a Parquet file; of a picture's column (``struct<bytes, path>`` or bytes) only where it is.

    Raises:
        EosError: no Parquet file.
    """
    check_regular(path, "questions file")
    pq, where = needed("pyarrow.parquet", "data", "reading Parquet"), shown_path(path)
    with reading(f"{where} cannot be read as Parquet"):
        file = pq.ParquetFile(path)
        pictures = {name for name in file.schema_arrow.names if _is_bytes(file.schema_arrow.field(name).type)}
        wanted = [name for name in file.schema_arrow.names if name not in pictures]
        groups = _Groups(path)
        number = 0
        for group in range(file.num_row_groups):
            rows_there = file.metadata.row_group(group).num_rows
            some = file.read_row_group(group, columns=wanted).to_pylist() if wanted else [{}] * rows_there
            there = {name: _there(file, group, name) for name in pictures}
            for inside, values in enumerate(some):
                held = (name for name in pictures if there[name] is None or there[name][inside])
                cells = {name: Cell(where, number, name, groups.cell) for name in held}
                yield Raw(f"{where}: row {number + 1}", {**present(values), **cells})
                number += 1


class _Groups:
    """Cells of a Parquet file, a group of rows in memory at a time for each thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mine = threading.local()

    def cell(self, row: int, column: str) -> bytes:
        """The bytes of a cell."""
        with reading(f"{shown_path(self.path)}: row {row + 1}: {column}"):
            mine = self._mine
            if not hasattr(mine, "file"):
                pq = needed("pyarrow.parquet", "data", "reading Parquet")
                mine.file, mine.held = pq.ParquetFile(self.path, memory_map=True), None
                metadata = mine.file.metadata
                counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
                mine.starts = [0, *accumulate(counts)]
            group = bisect_right(mine.starts, row) - 1
            inside = row - mine.starts[group]
            if mine.held is None or mine.held[0] != (group, column):
                mine.held = (group, column), mine.file.read_row_group(group, columns=[column])[column]
            return bytes_in(mine.held[1][inside].as_py(), column)


def _there(file: Any, group: int, name: str) -> Any:
    """Which cells of a column are not null; None: all, as the file's own statistics say."""
    chunk = file.metadata.row_group(group)
    columns = [chunk.column(place) for place in range(chunk.num_columns)]
    mine = [one for one in columns if one.path_in_schema in (name, f"{name}.bytes")]
    counts = [one.statistics.null_count if one.statistics is not None else None for one in mine]
    if counts and all(count == 0 for count in counts):
        return None
    column = file.read_row_group(group, columns=[name])[name].combine_chunks()
    if hasattr(column, "chunks"):  # an empty one
        return []
    return column.is_valid().to_pylist()


def _is_bytes(kind: Any) -> bool:
    """Whether a column holds pictures: bytes, or a struct of bytes and path."""
    pa = needed("pyarrow", "data", "reading Parquet")
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return True
    return pa.types.is_struct(kind) and any(kind.field(place).name == "bytes" for place in range(kind.num_fields))
