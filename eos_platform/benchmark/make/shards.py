"""Lines of JSON that workers leave, and how they share the work: what is there is not done again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import open_regular, shown_path

Line = dict[str, Any]
MOST = 1 << 30


class Shard:
    """One worker's file; a line that was cut off in writing is cut away before the next is written."""

    def __init__(self, folder: Path, kind: str, worker: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{kind}-{worker}.jsonl"
        if self.path.exists():
            data = self.path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                os.truncate(self.path, whole)

    def add(self, lines: Sequence[Line]) -> None:
        """Write some lines at once."""
        with self.path.open("ab") as stream:
            stream.write("".join(strict_json.dumps(line) + "\n" for line in lines).encode())
            stream.flush()


def read(folder: Path, kind: str) -> Iterator[Line]:
    """All lines of a kind that workers have left, a line cut off in writing left out.

    Raises:
        EosError: a line is none.
    """
    for path in sorted(folder.glob(f"{kind}-*.jsonl")):
        with open_regular(path, "shard", MOST) as stream:
            for number, line in enumerate(stream, 1):
                if not line.endswith(b"\n"):
                    break
                where = f"{shown_path(path)}, line {number}"
                data = strict_json.loads(line.decode("utf-8", "replace"), where)
                if not isinstance(data, dict):
                    raise EosError(f"{where}: an object is expected")
                yield data


class Claims:
    """Which pieces of a run are taken: a file each, which one worker alone can make."""

    def __init__(self, run: str) -> None:
        """``run``: names this run of all workers on one machine; what an earlier one took in vain is free."""
        self.folder = Path(tempfile.gettempdir()) / f"operator-bench-{run}"
        self.folder.mkdir(parents=True, exist_ok=True)

    def take(self, piece: str) -> bool:
        """Whether it is this worker's now."""
        try:
            os.close(os.open(self.folder / piece, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        return True
