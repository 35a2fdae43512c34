"""Which format data is in, and its rows: a file, a folder, shards, or a dataset of the Hub."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from eos_platform.common.errors import EosError, did_you_mean
from eos_platform.common.files import shown_path
from eos_platform.tasks.data.readers import hub, parquet, shards, text
from eos_platform.tasks.data.rows import Bad, Raw, Rows

HUB = "hub:"
BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
MOST_SHARDS = 100_000
ENDINGS: dict[str, tuple[str, Callable[[Path], Rows]]] = {
    ".jsonl": ("JSON lines", text.json_lines),
    ".ndjson": ("JSON lines", text.json_lines),
    ".json": ("JSON list", text.json_list),
    ".csv": ("CSV", lambda path: text.table(path, ",")),
    ".tsv": ("TSV", lambda path: text.table(path, "\t")),
    ".parquet": ("Parquet", parquet.rows),
    ".tar": ("WebDataset", shards.rows),
}


@dataclass(frozen=True)
class Found:
    """Data, as it was recognised.

    Attributes:
        form: what it is, in words.
        rows: of it, read as they are asked for.
        beside: the folder that pictures are named from.
    """

    form: str
    rows: Rows
    beside: Path


def find(data: str, part: str = "", config: str = "", streaming: bool = False) -> Found:
    """The rows of data.

    Args:
        data: a path, a pattern of shards (``train-{000..009}.tar``), or ``hub:OWNER/NAME``.
        part: of a ``datasets`` folder or name: which split of it.
        config: of a name on the Hub.
        streaming: rows of the Hub are read while they come.

    Raises:
        EosError: there is nothing, or nothing known.
    """
    if data.startswith(HUB):
        return Found("Hub dataset", hub.named(data[len(HUB) :], part, config, streaming), Path())
    if streaming or config:
        raise EosError(f"streaming and config are for datasets of the Hub (hub:OWNER/NAME), not {shown_path(data)}")
    path = Path(data)
    if path.is_dir():
        return _folder(path, part)
    if part:
        raise EosError(f"part '{part}': {shown_path(path)} has no parts")
    if not path.exists() and (many := _expanded(data)):
        return _several(many, path.parent)
    form, read = _ending(path)
    return Found(form, read(path), path.parent)


def _ending(path: Path) -> tuple[str, Callable[[Path], Rows]]:
    ending = path.suffix.lower()
    if ending in ENDINGS:
        return ENDINGS[ending]
    if not path.exists():
        raise EosError(f"questions file not found: {shown_path(path)}")
    if not path.is_file():
        return ENDINGS[".jsonl"]  # which says what it is
    near = did_you_mean(ending, ENDINGS)
    raise EosError(f"{shown_path(path)}: data of this kind is not known{near}; or a folder, or hub:OWNER/NAME")


def _folder(path: Path, part: str) -> Found:
    """A folder: of ``save_to_disk``, of pictures with a ``metadata`` file, or of files of one format."""
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return Found("datasets folder", hub.saved(path, part), path)
    inner = path / part if part else path
    if part and not inner.is_dir():
        raise EosError(f"{shown_path(path)} has no part '{part}'")
    if listed := sorted(one for one in inner.rglob("metadata.*") if one.suffix in (".jsonl", ".csv")):
        rows = chain.from_iterable(_listed(one, one.parent.relative_to(inner)) for one in listed)
        return Found("folder of pictures", rows, inner)
    for ending in (".parquet", ".tar", ".jsonl"):
        if many := sorted(inner.rglob(f"*{ending}")):
            return _several(many, inner)
    raise EosError(
        f"{shown_path(inner)} holds no data: no metadata.jsonl or metadata.csv, .parquet, .tar or .jsonl, nor what "
        "datasets saves"
    )


def _listed(path: Path, beside: Path) -> Iterator[Raw | Bad]:
    """A ``metadata`` file: its ``file_name`` is a picture beside it, in a folder of the data's own."""
    for row in ENDINGS[path.suffix][1](path):
        if isinstance(row, Raw) and "file_name" in row.values:
            values = dict(row.values)
            name = values.pop("file_name")
            row = Raw(row.place, {"image": str(beside / name) if isinstance(name, str) else name, **values})
        yield row


def _expanded(data: str) -> list[Path]:
    """Files of a pattern."""
    if braces := BRACES.search(data):
        first, last = braces.groups()
        if int(last) - int(first) >= MOST_SHARDS:
            raise EosError(f"{shown_path(data)}: more than {MOST_SHARDS:,} shards")
        names = [
            f"{data[: braces.start()]}{number:0{len(first)}d}{data[braces.end() :]}"
            for number in range(int(first), int(last) + 1)
        ]
        return [Path(name) for name in names]
    return [Path(name) for name in sorted(glob.glob(data))] if any(mark in data for mark in "*?[") else []


def _several(paths: list[Path], beside: Path) -> Found:
    readers = [_ending(path) for path in paths]
    if len({form for form, _ in readers}) > 1:
        raise EosError(f"{shown_path(beside)}: files of several formats at once")
    rows = chain.from_iterable(read(path) for path, (_, read) in zip(paths, readers, strict=True))
    return Found(f"{readers[0][0]}, {len(paths)} files", rows, beside)
