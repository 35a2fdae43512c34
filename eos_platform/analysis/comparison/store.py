"""The results folder: ``comparison.json`` says what is compared, ``results.jsonl`` holds a line a measurement."""

from __future__ import annotations

import os
import platform
import uuid
from pathlib import Path
from typing import Any, BinaryIO

import torch

from eos_platform.analysis.comparison.measure import Record
from eos_platform.analysis.comparison.schema import check_header, check_record
from eos_platform.analysis.comparison.settings import Settings
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError, shown
from eos_platform.common.files import read_text, shown_path, write_atomic
from eos_platform.operators.spec import INFINITE
from eos_platform.tasks.base import Subject
from eos_platform.tasks.batch import EncodedQuestions

HEADER, RESULTS = "comparison.json", "results.jsonl"
FIXED = ("model", "task", "questions", "batch", "device")  # what all records of a folder share


def describe(
    settings: Settings, workload: Subject, encoded: EncodedQuestions, examples: list[dict[str, Any]]
) -> dict[str, Any]:
    """What holds for every record of the comparison."""
    device = workload.model.device
    return {
        "uid": uuid.uuid4().hex,
        "model": settings.model,
        "task": workload.task,
        "questions": len(encoded),
        "batch": settings.batch,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "dtype": str(workload.model.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "layers": workload.target.layers,
        "grid": list(workload.target.grid),
        "text_tokens": workload.text_tokens,
        "settings": settings.model_dump(mode="json"),
        "samples": settings.samples,
        "examples": examples,
    }


def begin(folder: Path, header: dict[str, Any]) -> dict[str, Any]:
    """Write the header, or take up the comparison that is there.

    Raises:
        EosError: the folder holds a comparison of something else.
    """
    path = folder / HEADER
    if path.exists() or path.is_symlink():
        before = read_header(folder)
        for name in FIXED:
            if before[name] != header[name]:
                raise EosError(
                    f"{folder} holds a comparison with {name} {shown(before[name])}, not {shown(header[name])}; "
                    "use another --out"
                )
        header = {**header, "uid": before["uid"], "examples": before["examples"]}
    write_atomic(path, strict_json.dumps(check_header(header, str(path)), indent=1) + "\n")
    return header


def read_header(folder: Path) -> dict[str, Any]:
    """The header of a results folder.

    Raises:
        EosError: there is none.
    """
    path = folder / HEADER
    header = strict_json.loads(read_text(path, "comparison"), f"{shown_path(path)}: not a comparison's header")
    return check_header(header, shown_path(path))


def read_records(folder: Path) -> list[Record]:
    """Every record, the latest of each key; a last line cut short by a crash is passed over.

    Raises:
        EosError: a line that is no record.
    """
    path = folder / RESULTS
    if not path.exists() and not path.is_symlink():
        return []
    records: dict[str, Record] = {}
    lines = read_text(path, "results").split("\n")
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            where = f"{shown_path(path)}: line {number} is no record"
            record = strict_json.loads(text, where, infinity=rf"operator\.{INFINITE}")
        except strict_json.NotJson:
            if number == len(lines) and text.startswith('{"'):  # no newline after it
                break
            raise
        record = check_record(record, f"{shown_path(path)}: line {number}")
        records[record["key"]] = record
    return list(records.values())


def append(folder: Path, record: Record) -> None:
    """One more line, on disk before this returns.

    Raises:
        EosError: it cannot be written.
    """
    path = folder / RESULTS
    try:
        with path.open("a+b") as stream:
            _cut_torn_line(stream)
            stream.write(strict_json.dumps(check_record(record, "measured")).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise EosError(f"cannot write {path}: {error.strerror or error}") from None


def _cut_torn_line(stream: BinaryIO) -> None:
    """Take off what a crash left after the last whole line."""
    end = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    whole = stream.read(end).rfind(b"\n") + 1
    stream.truncate(whole)
    stream.seek(0, os.SEEK_END)
