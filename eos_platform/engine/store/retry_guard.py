"""How often a search began in vain.

A search whose process dies again and again without getting further (out of memory, a broken driver) is given up, while
one that gets on may lose as many workers as it likes.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import read_text, write_atomic
from eos_platform.search.checkpoint import FILE as STATE

BEGUN = "begun.json"
STARTS = 3  # without getting further


class RetryGuard:
    """The attempts at one search.

    Args:
        folder: where its state is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, session: str) -> None:
        """Note that an attempt begins.

        Args:
            session: the driver's; attempts that ended with their driver are not held against the search.

        Raises:
            EosError: too many ended where they began.
        """
        begun = self._begun()
        saved = self._saved()
        same = begun.get("session") == session and begun.get("saved") == saved
        earlier = begun.get("starts", 0)
        starts = (earlier if same and isinstance(earlier, int) else 0) + 1
        if starts > STARTS:
            raise EosError(
                f"the worker process died {STARTS} times and the search got no further in between (out of memory?)"
            )
        with suppress(EosError):
            write_atomic(self.folder / BEGUN, strict_json.dumps({"session": session, "saved": saved, "starts": starts}))

    def _saved(self) -> int:
        """A number that changes with the state."""
        with suppress(OSError):
            return (self.folder / STATE).stat().st_mtime_ns
        return 0

    def _begun(self) -> dict[str, Any]:
        with suppress(EosError):
            data = strict_json.loads(read_text(self.folder / BEGUN, "attempt"))
            return data if isinstance(data, dict) else {}
        return {}
