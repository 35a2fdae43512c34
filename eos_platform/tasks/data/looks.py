"""What is known of pictures on disk, kept: a file of the same size and time of change is not read again.

``pictures.sqlite`` lies beside what vision towers made of pictures (``$EOS_CACHE``, ``off``: none). It holds digests,
never pictures; where it cannot be read or written nothing is lost but time.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from eos_platform.common.cache_folder import cache_folder
from eos_platform.tasks.data.pictures import Look

NAME = "pictures.sqlite"
COLUMNS = "path TEXT PRIMARY KEY, size INT, changed INT, whole INT, digest BLOB, w INT, h INT"
OFTEN = 2000  # pictures between writes


class Looks:
    """The pictures known so far."""

    def __init__(self) -> None:
        self._base: sqlite3.Connection | None = None
        self._new = 0
        place = cache_folder()
        if place is None:
            return
        with contextlib.suppress(sqlite3.Error, OSError):
            place.mkdir(parents=True, exist_ok=True)
            base = sqlite3.connect(place / NAME, timeout=5)
            base.execute("PRAGMA journal_mode=WAL")
            base.execute("PRAGMA synchronous=OFF")  # half of it lost is time lost
            base.execute(f"CREATE TABLE IF NOT EXISTS looks ({COLUMNS})")
            self._base = base

    def get(self, path: Path, whole: bool, film: bool = False) -> Look | None:
        """What is known of a file as it is now.

        Args:
            path: of the picture or film.
            whole: whether it must have been decoded.
            film: whether as a film.
        """
        if self._base is None:
            return None
        with contextlib.suppress(sqlite3.Error, OSError, UnicodeEncodeError, ValueError):
            state = path.stat()
            row = self._base.execute(
                "SELECT digest, w, h FROM looks WHERE path=? AND size=? AND changed=? AND whole>=?",
                (_key(path, film), state.st_size, state.st_mtime_ns, int(whole)),
            ).fetchone()
            if row is not None and isinstance(row[0], bytes) and len(row[0]) == 32:
                return Look(row[0], int(row[1]), int(row[2]))
        return None

    def put(self, path: Path, look: Look, whole: bool, film: bool = False) -> None:
        """Keep what was found."""
        if self._base is None:
            return
        with contextlib.suppress(sqlite3.Error, OSError, UnicodeEncodeError, ValueError):
            state = path.stat()
            values = (_key(path, film), state.st_size, state.st_mtime_ns, int(whole))
            self._base.execute(
                "INSERT OR REPLACE INTO looks VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*values, look.digest, look.width, look.height),
            )
            self._new += 1
            if self._new % OFTEN == 0:
                self._base.commit()

    def close(self) -> None:
        """Write what is new."""
        if self._base is not None:
            with contextlib.suppress(sqlite3.Error):
                self._base.commit()
                self._base.close()
            self._base = None


def _key(path: Path, film: bool) -> str:
    return ("film: " if film else "") + os.path.abspath(path)
