"""The folder of a matrix: ``transfer.json`` says what it is, ``cells.jsonl`` has a line a cell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from eos_platform.analysis.stats.bitpack import unpack
from eos_platform.analysis.transfer.cells import Record
from eos_platform.analysis.transfer.plan import Item, Settings
from eos_platform.common import strict_json
from eos_platform.common.errors import EosError, shown
from eos_platform.common.files import MEGABYTE, open_regular, read_text, shown_path, write_atomic

HEADER, CELLS = "transfer.json", "cells.jsonl"
MAY_GROW = ("places", "operators", "budgets", "ways", "seeds")  # cells that are there stay what they are
MOST = 512 * MEGABYTE
NEEDED = {"key": str, "kind": str, "place": str, "source": str, "budget": (int, float), "seed": int, "status": str}
MEASURED = {"accuracy": (int, float), "questions": int, "scores": str, "compute_ratio": (int, float), "about": dict}

COST = ("unreduced", "budget", "predicted")  # all in the cost's unit


class Cells:
    """What is measured so far.

    Attributes:
        folder: where.
        records: by key.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Take up what is there.

        Raises:
            EosError: the folder holds another matrix, or something that is none.
        """
        self.folder, self.path = folder, folder / CELLS
        header = folder / HEADER
        wanted: dict[str, Any] = settings.model_dump(mode="json")
        if header.exists():
            before = strict_json.loads(read_text(header, "transfer record"), shown_path(header))
            if not isinstance(before, dict):
                raise EosError(f"{shown_path(header)}: no record of a transfer matrix")
            for name, value in wanted.items():
                if name not in MAY_GROW and before.get(name) != value:
                    raise EosError(
                        f"{shown_path(folder)} holds a matrix of other {name} ({shown(before.get(name))}, now "
                        f"{shown(value)}); name another --out"
                    )
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(header, strict_json.dumps(wanted, indent=2) + "\n")
        self.records: dict[str, Record] = {}
        if self.path.exists():
            self._read()

    def _read(self) -> None:
        """Lines of earlier runs; one that was cut off in writing is cut away."""
        whole = 0
        with open_regular(self.path, "transfer cells", MOST) as stream:
            for number, line in enumerate(stream, 1):
                if not line.endswith(b"\n"):
                    break
                where = f"{shown_path(self.path)}, line {number}"
                record = checked(strict_json.loads(line.decode("utf-8", "replace"), where), where)
                whole += len(line)
                self.records[record["key"]] = record
        if whole < self.path.stat().st_size:
            os.truncate(self.path, whole)

    def left(self, items: list[Item]) -> list[Item]:
        """Those that are not measured; what was refused is asked again."""
        return [item for item in items if self.records.get(item.key, {}).get("status") != "measured"]

    def add(self, record: Record) -> None:
        """Keep one."""
        record = checked(record, record["key"])
        with self.path.open("ab") as stream:
            stream.write((strict_json.dumps(strict_json.plain(record)) + "\n").encode())
            stream.flush()
        self.records[record["key"]] = record


def _check_cost(cost: Any, where: str) -> None:
    """Of a place whose budgets are about another cost than compute.

    Raises:
        EosError: a number is missing, or none that a cost can have.
    """
    if cost is None:
        return
    if not isinstance(cost, dict) or not isinstance(cost.get("name"), str):
        raise EosError(f"{where}: 'cost' is no record of a cost")
    for name in (*COST, *(("measured",) if "measured" in cost else ())):
        value = cost.get(name)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
            raise EosError(f"{where}: cost: '{name}' is missing, or no number above 0")


def checked(record: Any, where: str) -> Record:
    """A record with all that is read of it.

    Raises:
        EosError: something is missing, or of another type.
    """
    if not isinstance(record, dict):
        raise EosError(f"{where}: no record of a cell")
    needed = NEEDED | (MEASURED if record.get("status") == "measured" else {"reason": str})
    for name, kind in needed.items():
        if not isinstance(record.get(name), kind) or isinstance(record.get(name), bool):  # type: ignore[arg-type]
            raise EosError(f"{where}: '{name}' is missing or of another type")
    if record["status"] == "measured":
        _check_cost(record.get("cost"), where)
        try:
            unpack(record["scores"], record["questions"], strict=True)
        except ValueError as error:
            raise EosError(f"{where}: scores: {error}") from None
    return record
