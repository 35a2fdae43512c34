"""What a search leaves beside its state, so that it ends once: its result, and how often it began in vain.

A result is written before it is reported. A driver that dies in between finds it, and nothing is searched twice. A
search whose process dies again and again without getting further (out of memory, a broken driver) is given up, while
one that gets on may lose as many workers as it likes.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError
from eos_platform.common.files import read_text, write_atomic
from eos_platform.common.former_names import SEARCH
from eos_platform.engine import trial_result
from eos_platform.objectives import DEFAULT
from eos_platform.operators.spec import OperatorSpec
from eos_platform.search.checkpoint import FILE as STATE

RESULT, BEGUN = "result.json", "begun.json"
STARTS = 3  # without getting further


class RetryGuard:
    """The attempts at one search.

    Args:
        folder: where its state is.
        search: its fields, plain data. What is found of a search with other fields is not looked at.
    """

    def __init__(self, folder: Path, search: dict[str, Any]) -> None:
        self.folder, self.search = folder, strict_json.loads(strict_json.dumps(search))

    def result(self) -> dict[str, Any] | None:
        """What an earlier attempt found, if it came to its end."""
        result = self._read(RESULT)
        same = SEARCH.current(result.get("search")) == self.search
        return result["result"] if same and _sound(result.get("result")) else None

    def keep(self, result: dict[str, Any]) -> None:
        """Keep the result until the store has it. A disk that is full costs no more than this safety."""
        self._write(RESULT, {"search": self.search, "result": result})

    def begin(self, session: str) -> None:
        """Note that an attempt begins.

        Args:
            session: the driver's; attempts that ended with their driver are not held against the search.

        Raises:
            EosError: too many ended where they began.
        """
        begun = self._read(BEGUN)
        saved = self._saved()
        same = begun.get("session") == session and begun.get("saved") == saved
        earlier = begun.get("starts", 0)
        starts = (earlier if same and isinstance(earlier, int) else 0) + 1
        if starts > STARTS:
            raise EosError(
                f"the worker process died {STARTS} times and the search got no further in between (out of memory?)"
            )
        self._write(BEGUN, {"session": session, "saved": saved, "starts": starts})

    def _saved(self) -> int:
        """A number that changes with the state."""
        with suppress(OSError):
            return (self.folder / STATE).stat().st_mtime_ns
        return 0

    def _read(self, name: str) -> dict[str, Any]:
        with suppress(EosError):
            data = strict_json.loads(read_text(self.folder / name, "attempt"))
            return data if isinstance(data, dict) else {}
        return {}

    def _write(self, name: str, values: dict[str, Any]) -> None:
        with suppress(EosError):
            write_atomic(self.folder / name, strict_json.dumps(values))


def _sound(result: Any) -> bool:
    """Whether this can be what a search found: finite numbers, and an operator."""
    if not isinstance(result, dict) or not isinstance(result.get("kept", ""), str):
        return False
    parsed = trial_result.read(result, DEFAULT)
    if parsed is None or not trial_result.sound(parsed):
        return False
    try:
        OperatorSpec.from_json(parsed.operator)
    except (EosError, TypeError):
        return False
    return True
