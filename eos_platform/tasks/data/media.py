"""Where the bytes of a picture are: a file, a member of an archive, a cell of a table; read when wanted, never kept.

A ``Path`` is a file itself. The others are small frozen values, so that 100,000 of them are cheap, equal ones are the
same picture, and reading may go on in several threads.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from eos_platform.common.boundary import reading
from eos_platform.common.errors import EosError, brief
from eos_platform.common.files import MEGABYTE, open_regular, read_bytes, shown_path

LARGEST_PICTURE = 256 * MEGABYTE


@dataclass(frozen=True)
class ZipMember:
    """A member of a zip file; names are looked up, nothing is ever extracted to a path."""

    archive: Path
    name: str

    def __str__(self) -> str:
        return f"{self.archive}!{self.name}"

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            EosError: damaged, encrypted, or larger than a picture may be.
        """
        with reading(f"picture {brief(self.name)} in {shown_path(self.archive)}"):
            archive = _zip(self.archive, *_state(self.archive), threading.get_ident())
            text = archive.getinfo(self.name).file_size
            if text > LARGEST_PICTURE:
                raise EosError(f"picture {brief(self.name)} would unpack to {text / MEGABYTE:,.0f} MiB")
            with archive.open(self.name) as stream:  # no more than it says of itself is unpacked, whatever it holds
                data = stream.read(LARGEST_PICTURE + 1)
            if len(data) > LARGEST_PICTURE:
                raise EosError(f"picture {brief(self.name)} unpacks to more than {LARGEST_PICTURE // MEGABYTE} MiB")
            return data


@dataclass(frozen=True)
class Span:
    """Bytes of a file: a member of an uncompressed tar."""

    file: Path
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.file}!{self.name}"

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            EosError: the file is gone or shorter.
        """
        if self.size > LARGEST_PICTURE:
            raise EosError(f"picture {brief(self.name)}: its {self.size / MEGABYTE:,.0f} MiB are too many")
        with open_regular(self.file, "archive", None) as stream:
            stream.seek(self.offset)
            data = stream.read(self.size)
        if len(data) != self.size:
            raise EosError(f"picture {brief(self.name)}: {shown_path(self.file)} ends before it does")
        return data


@dataclass(frozen=True)
class Cell:
    """A cell of a table that stays on disk.

    Attributes:
        table: names the table.
        row: of it.
        column: of it.
        fetch: reads the cell.
    """

    table: str
    row: int
    column: str
    fetch: Callable[[int, str], bytes] = field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.table}, row {self.row + 1}, {self.column}"

    def read(self) -> bytes:
        """Its bytes."""
        return self.fetch(self.row, self.column)


class Spill:
    """Bytes that came inside rows (base64, a stream), put into one temporary file instead of memory."""

    def __init__(self) -> None:
        self._file: Any = None
        self._end = 0

    def keep(self, data: bytes, name: str) -> Spilt:
        """Put ``data`` away."""
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this does
            weakref.finalize(self, self._file.close)
        self._file.seek(self._end)
        self._file.write(data)
        self._file.flush()
        result = Spilt(self, name, self._end, len(data))
        self._end += len(data)
        return result

    def read(self, offset: int, size: int) -> bytes:
        """What was put there."""
        return os.pread(self._file.fileno(), size, offset)


@dataclass(frozen=True)
class Spilt:
    """Bytes in a ``Spill``."""

    spill: Spill
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return self.name

    def read(self) -> bytes:
        """They themselves."""
        return self.spill.read(self.offset, self.size)


Source = Path | ZipMember | Span | Cell | Spilt


def bytes_of(source: Source) -> bytes:
    """What a picture's source holds.

    Raises:
        EosError: it cannot be read, or is too large.
    """
    if isinstance(source, Path):
        return read_bytes(source, "picture", LARGEST_PICTURE)
    return source.read()


def _state(path: Path) -> tuple[int, int]:
    result = path.stat()
    return result.st_size, result.st_mtime_ns


@lru_cache(maxsize=32)
def _zip(path: Path, size: int, changed: int, thread: int) -> zipfile.ZipFile:
    """A zip's directory, read once a thread: its file object is moved about while it is read."""
    open_regular(path, "archive", None).close()
    return zipfile.ZipFile(path)
