"""Reading and writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from eos_platform.errors import EosError


def write_atomic(path: str | os.PathLike[str], content: str | bytes, *, private: bool = False) -> Path:
    """Write ``content`` to a temporary name beside ``path`` and rename it into place.

    Args:
        private: nobody else may read it, not for a moment.

    Raises:
        EosError: the folder cannot be made or written.
    """
    target = Path(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise EosError(f"cannot write {target}: {error.strerror or error}") from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(handle)  # else a machine that loses its power may keep the new name and nothing in it
        if not private:
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)  # mkstemp gives 0600; a shared store needs the usual mode
        os.replace(temporary, target)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise EosError(f"cannot write {target}: {error.strerror or error}") from error
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target


def check_writable(path: str | os.PathLike[str]) -> None:
    """Make sure a file could be written at ``path``, without leaving anything behind; before long work, not after.

    Raises:
        EosError: it is a folder, or the nearest folder that exists is none or may not be written.
    """
    target = Path(path)
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(target)  # refuses names that no file can have
        if target.is_dir():
            raise EosError(f"cannot write {target}: it is a folder")
        parent = target.absolute().parent
        while not parent.exists():
            parent = parent.parent
        if not parent.is_dir():
            raise EosError(f"cannot write {target}: {parent} is not a folder")
        with tempfile.TemporaryFile(dir=parent):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EosError(f"cannot write {str(target)!r}: {reason}") from None


def read_text(path: str | os.PathLike[str], what: str) -> str:
    """The text of ``path``.

    Args:
        what: what the file is, for the error ("operator file", "study file").

    Raises:
        EosError: missing, a folder, unreadable, or not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise EosError(f"{what} not found: {path}") from None
    except UnicodeDecodeError:
        raise EosError(f"{what} is not text: {path}") from None
    except ValueError as error:  # such as a NUL in the name
        raise EosError(f"cannot read {what} {path!r}: {error}") from None
    except OSError as error:
        raise EosError(f"cannot read {what} {path}: {error.strerror or error}") from error
