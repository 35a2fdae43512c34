"""Reading and writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import BinaryIO

from eos_platform.common.errors import EosError, expected, shown
from eos_platform.common.printable import printable


def as_path(path: str | os.PathLike[str], what: str = "path") -> Path:
    """``path`` as a path.

    Raises:
        EosError: it is of another type.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise expected(what, "a path", path)
    return Path(path)


def write_atomic(path: str | os.PathLike[str], content: str | bytes, *, private: bool = False) -> Path:
    """Write ``content`` to a temporary name beside ``path`` and rename it into place.

    Args:
        private: nobody else may read it, not for a moment.

    Raises:
        EosError: the folder cannot be made or written.
    """
    target = as_path(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise EosError(f"cannot write {shown_path(target)}: {error.strerror or error}") from error
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
        raise EosError(f"cannot write {shown_path(target)}: {error.strerror or error}") from error
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
            raise EosError(f"cannot write {shown_path(target)}: it is a folder")
        parent = target.absolute().parent
        while not parent.exists():
            parent = parent.parent
        if not parent.is_dir():
            raise EosError(f"cannot write {shown_path(target)}: {shown_path(parent)} is not a folder")
        with tempfile.TemporaryFile(dir=parent):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EosError(f"cannot write {shown_path(target)}: {reason}") from None


MEGABYTE = 1 << 20
MOST = 256 * MEGABYTE  # of a file that is read whole


def open_regular(path: str | os.PathLike[str], what: str, most: int | None = MOST) -> BinaryIO:
    """Open a file that a person named: a regular one, of a size that can be meant.

    A pipe would wait for ever, a device may never end, and a sparse file holds more zeros than there is memory.

    Args:
        what: what the file is, for the error ("operator file", "study file").
        most: bytes it may have; None: any number.

    Raises:
        EosError: missing, no regular file, too large, or unreadable.
    """
    as_path(path, what)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise EosError(f"{what} not found: {shown_path(path)}") from None
    except ValueError as error:  # such as a NUL in the name
        raise EosError(f"cannot read {what} {shown(os.fspath(path), LONGEST)}: {error}") from None
    except OSError as error:
        reason = "it is a socket, not a file" if error.errno == errno.ENXIO else error.strerror or error
        raise EosError(f"cannot read {what} {shown_path(path)}: {reason}") from None
    status = os.fstat(handle)
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "it is a special file, not a file with text or data")
    if stat.S_ISREG(status.st_mode):
        if most is None or status.st_size <= most:
            return os.fdopen(handle, "rb")
        kind = f"its {_size(status.st_size)} are more than the {_size(most)} such a file may have"
    os.close(handle)
    raise EosError(f"cannot read {what} {shown_path(path)}: {kind}")


_KINDS = {
    stat.S_IFDIR: "it is a folder",
    stat.S_IFIFO: "it is a pipe, not a file",
    stat.S_IFCHR: "it is a device, not a file",
    stat.S_IFBLK: "it is a device, not a file",
    stat.S_IFSOCK: "it is a socket, not a file",
}
LONGEST = 200  # characters of a path in a message


def shown_path(path: str | os.PathLike[str]) -> str:
    """A path for a message: the end of a long one, and nothing that a terminal would act on."""
    text = printable(str(path))
    return text if len(text) <= LONGEST else "..." + text[3 - LONGEST :]


def _size(count: int) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count //= 1024
    return f"{count:,} {unit}"


def is_there(path: str | os.PathLike[str], what: str) -> bool:
    """Whether something is at ``path`` that may be opened.

    Raises:
        EosError: no file can have that name, or what is there is no regular file.
    """
    try:
        there = Path(path).exists()
    except OSError as error:
        raise EosError(f"cannot read {what} {shown_path(path)}: {error.strerror or error}") from None
    return there and bool(check_regular(path, what))


def check_regular(path: str | os.PathLike[str], what: str, most: int | None = None) -> Path:
    """Make sure a library may open ``path``: it is what ``open_regular`` opens.

    Raises:
        EosError: it is not.
    """
    open_regular(path, what, most).close()
    return Path(path)


def read_bytes(path: str | os.PathLike[str], what: str, most: int = MOST) -> bytes:
    """What is in ``path``, see ``open_regular``.

    Raises:
        EosError: missing, no regular file, too large, or unreadable.
    """
    with open_regular(path, what, most) as stream:
        try:
            data = stream.read(most + 1)
        except OSError as error:
            raise EosError(f"cannot read {what} {shown_path(path)}: {error.strerror or error}") from None
    if len(data) > most:  # it grew, or belongs to a file system that tells no sizes
        raise EosError(f"cannot read {what} {shown_path(path)}: more than {_size(most)}")
    return data


def read_text(path: str | os.PathLike[str], what: str, most: int = MOST) -> str:
    """The text of ``path``, see ``open_regular``.

    Raises:
        EosError: missing, no regular file, too large, unreadable, or not UTF-8.
    """
    data = read_bytes(path, what, most)
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise EosError(f"{what} is not text in UTF-8: {shown_path(path)}") from None
