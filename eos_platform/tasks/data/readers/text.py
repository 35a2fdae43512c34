"""JSON lines, JSON lists, CSV and TSV, line by line: text stays the text that it is."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError, shown
from eos_platform.common.files import MEGABYTE, open_regular, read_text, shown_path
from eos_platform.tasks.data.rows import LONGEST_LINE, Bad, Raw, Rows

LARGEST_LIST = 4096 * MEGABYTE
LARGEST_CELL = 64 * MEGABYTE
SEPARATOR = "|"  # between several answers or choices in one cell
SEVERAL = ("answers", "choices", "images")


def json_lines(path: Path) -> Rows:
    """One JSON object a line."""
    where = shown_path(path)
    with open_regular(path, "questions file", None) as stream:
        for number, line in _lines(stream, where):
            place = f"{where}: line {number}"
            if isinstance(line, Bad):
                yield line
                continue
            try:
                yield _object(strict_json.loads(line, "row"), place)
            except EosError as error:
                yield Bad(place, str(error), "not JSON")


def json_list(path: Path) -> Rows:
    """A JSON list of objects; or an object whose ``data`` or ``questions`` is one.

    Raises:
        EosError: it is neither.
    """
    where = shown_path(path)
    result = strict_json.loads(read_text(path, "questions file", LARGEST_LIST), where)
    if isinstance(result, dict):
        result = next((result[key] for key in ("data", "questions") if isinstance(result.get(key), list)), None)
    if not isinstance(result, list):
        raise EosError(f"{where}: a JSON list of questions is expected (or .jsonl: one object a line)")
    for number, value in enumerate(result, 1):
        yield _object(value, f"{where}: row {number}")


def table(path: Path, delimiter: str) -> Rows:
    """CSV or TSV with a head. An empty cell is a column left out; ``answers``, ``choices`` and ``images`` may hold
    several texts with ``|`` between.

    Raises:
        EosError: no head, or a column twice in it.
    """
    where = shown_path(path)
    before = csv.field_size_limit(LARGEST_CELL)
    try:
        with open_regular(path, "questions file", None) as stream:
            head: list[str] | None = None
            for number, cells in _records(stream, delimiter, where):
                place = f"{where}: line {number}"
                if isinstance(cells, Bad):
                    yield cells
                elif head is None:
                    head = [cell.strip() for cell in cells]
                    _check_head(head, where)
                elif len(cells) != len(head):
                    yield Bad(place, f"{len(cells)} cells under {len(head)} columns", "wrong number of cells")
                else:
                    yield Raw(place, dict(_cells(head, cells)))
            if head is None:
                raise EosError(f"{where}: no questions, not even a head of column names")
    finally:
        csv.field_size_limit(before)


def _object(value: Any, place: str) -> Raw | Bad:
    if isinstance(value, dict):
        return Raw(place, value)
    return Bad(place, f"a JSON object is expected, not {shown(value)}", "not an object")


def _lines(stream: BinaryIO, where: str) -> Iterator[tuple[int, str | Bad]]:
    """Lines that are not empty, with their numbers; one that is no UTF-8 or endless is bad alone."""
    number = 0
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        if number == 1:
            _check_encoding(line, where)
            line = line.removeprefix(codecs.BOM_UTF8)
        if len(line) > LONGEST_LINE:
            while line and not line.endswith(b"\n"):
                line = stream.readline(LONGEST_LINE)
            line_text = f"more than {LONGEST_LINE >> 20} MiB in one line"
            yield number, Bad(f"{where}: line {number}", line_text, "line too long")
            continue
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            byte = f"byte {line[error.start]:#04x} at column {error.start + 1}"
            yield number, Bad(f"{where}: line {number}", f"not text in UTF-8 ({byte})", "not UTF-8")
            continue
        if text.strip():
            yield number, text


def _check_encoding(head: bytes, where: str) -> None:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise EosError(f"{where} is text in UTF-16; save it in UTF-8")
    if head.startswith((b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ")):
        raise EosError(f"{where} is compressed; unpack it")


def _records(stream: BinaryIO, delimiter: str, where: str) -> Iterator[tuple[int, list[str] | Bad]]:
    """Records with the number of the line they begin on; a cell in quotes may span lines."""
    bad: list[Bad] = []
    at = 1

    def texts() -> Iterator[str]:
        nonlocal at
        for number, line in _lines(stream, where):
            at = number
            if isinstance(line, Bad):
                bad.append(line)
            else:
                yield line if line.endswith("\n") else line + "\n"

    lines = texts()
    while True:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                yield from ((0, one) for one in bad)
                bad.clear()
                yield at, cells
        except csv.Error as error:
            yield at, Bad(f"{where}: line {at}", f"not CSV: {error}", "not CSV")
            continue
        yield from ((0, one) for one in bad)
        return


def _check_head(head: list[str], where: str) -> None:
    twice = [name for number, name in enumerate(head) if name and name in head[:number]]
    if twice:
        raise EosError(f"{where}: column {shown(twice[0])} stands twice in its head")


def _cells(head: list[str], cells: list[str]) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(head, cells, strict=True):
        if name and cell:
            yield name, cell.split(SEPARATOR) if name in SEVERAL else cell
