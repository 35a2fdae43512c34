"""Where search states are kept: a folder, or a place behind a URL (``s3://bucket/runs``) that every node reaches.

A search writes its state into a folder. Behind a URL that folder is a scratch one on the node: fetched before the
search begins, sent after every report that follows a new state. So a search whose node died goes on elsewhere.

A node that was only cut off searches on until it hears that it was given up. Its search stops at the next report: the
owner's name beside the state is another's by then.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eos_platform.common.addresses import masked, secret
from eos_platform.common.boundary import error_text
from eos_platform.common.errors import EosError, unknown

SCHEMES = ("s3", "gs", "abfs", "abfss", "hdfs", "file")  # what pyarrow opens by URL
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_url(place: str) -> bool:
    """Whether ``place`` is a URL and not a path."""
    return _URL.match(place) is not None


def check(place: str) -> None:
    """Whether ``place`` can be used at all, without asking for it.

    Raises:
        EosError: an unknown scheme, or a name or password in the URL: Ray shows URLs to whoever sees its tables.
    """
    if not is_url(place):
        return
    scheme = place.partition("://")[0]
    if scheme not in SCHEMES:
        raise EosError(f"stores.storage: {unknown('scheme', scheme, SCHEMES)}")
    if secret(place):
        raise EosError(
            f"stores.storage: no name or password belongs in the URL ({masked(place)}); "
            "give them by the environment on every node (such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
        )


def filesystem(place: str) -> tuple[Any, str]:
    """pyarrow's filesystem for ``place``, and the path in it.

    Raises:
        EosError: it cannot be opened.
    """
    from pyarrow import fs

    check(place)
    try:
        if is_url(place):
            return fs.FileSystem.from_uri(place)
        return fs.LocalFileSystem(), str(Path(place).absolute())
    except (OSError, ValueError, TypeError) as error:
        raise EosError(f"cannot open the storage {masked(place)}: {_line(error)}") from None


def under(place: str, name: str) -> str:
    """The place ``name`` within ``place``; a URL's query stays at its end."""
    if not is_url(place):
        return str(Path(place) / name)
    base, mark, query = place.partition("?")
    return f"{base.rstrip('/')}/{name}{mark}{query}"


OWNER = ".owner"


class Superseded(EosError):
    """Another worker has taken the search over, because this one was given up for dead."""


class State:
    """The state of one search on the node that runs it.

    Args:
        place: the folder or URL of this state alone.
        folder: where the search reads and writes; ``place`` itself unless that is a URL.
    """

    def __init__(self, place: str, folder: Path) -> None:
        self.place, self.folder = place, folder
        self._sent: dict[str, int] = {}
        self._me = uuid.uuid4().hex

    def take(self) -> None:
        """Become the owner."""
        there, path = filesystem(self.place)
        there.create_dir(path, recursive=True)
        with there.open_output_stream(f"{path}/{OWNER}") as stream:
            stream.write(self._me.encode())

    def hold(self) -> None:
        """Make sure of still being the owner.

        Raises:
            Superseded: another took the search over, or its driver is done with it.
        """
        there, path = filesystem(self.place)
        try:
            with there.open_input_stream(f"{path}/{OWNER}") as stream:
                mine = stream.read() == self._me.encode()
        except FileNotFoundError:
            mine = False
        if not mine:
            raise Superseded("another worker has taken this search over")

    def fetch(self) -> None:
        """Bring what an earlier node left; nothing there is no error."""
        from pyarrow import fs

        there, path = filesystem(self.place)
        if there.get_file_info(path).type == fs.FileType.Directory:
            fs.copy_files(path, str(self.folder), source_filesystem=there, destination_filesystem=fs.LocalFileSystem())
            self._sent = self._stamps()

    def keep(self) -> None:
        """Send files written since the last time.

        Raises:
            Superseded: the search is another's by now.
        """
        if not is_url(self.place):
            self.hold()
            return
        new = {name: stamp for name, stamp in self._stamps().items() if self._sent.get(name) != stamp}
        if not new:
            return
        self.hold()
        there, path = filesystem(self.place)
        for name, stamp in new.items():
            # an object store shows an object whole or not at all
            with there.open_output_stream(f"{path}/{name}") as stream:
                stream.write((self.folder / name).read_bytes())
            self._sent[name] = stamp

    def _stamps(self) -> dict[str, int]:
        files = [file for file in self.folder.iterdir() if file.is_file() and not file.name.startswith(".")]
        return {file.name: file.stat().st_mtime_ns for file in files}


@contextmanager
def opened(place: str) -> Iterator[State]:
    """The state kept at ``place``, for one search."""
    if not is_url(place):
        state = State(place, Path(place))
        state.take()
        yield state
        return
    with tempfile.TemporaryDirectory(prefix="eos-state-") as scratch:
        state = State(place, Path(scratch))
        state.fetch()
        state.take()
        yield state


STUDY = ".study"


def claim(place: str, uid: str) -> None:
    """Make ``place`` that of one study's states, by the identity in its Optuna store.

    Raises:
        EosError: another study keeps its states there; each would take the other's searches over.
    """
    owner = claimed(place)
    if owner not in (None, uid):
        raise EosError(
            f"stores.storage: {masked(place)} is in use by another study of this name, from another Optuna store; "
            "give this one another name or another storage, or delete what is left there if that study is gone"
        )
    put(place, STUDY, uid)


def put(place: str, name: str, text: str) -> None:
    """Write a small file at ``place``, which is made if it is not there.

    Raises:
        EosError: it cannot be written.
    """
    there, path = filesystem(place)
    try:
        there.create_dir(path, recursive=True)
        with there.open_output_stream(f"{path}/{name}") as stream:
            stream.write(text.encode())
    except OSError as error:
        raise EosError(f"cannot write the storage {masked(place)}: {_line(error)}") from None


def claimed(place: str) -> str | None:
    """The study whose states are kept at ``place``; None where no study's are."""
    there, path = filesystem(place)
    try:
        with there.open_input_stream(f"{path}/{STUDY}") as stream:
            return bytes(stream.read()).decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EosError(f"cannot read the storage {masked(place)}: {_line(error)}") from None


def forget(place: str) -> None:
    """Drop what is kept at ``place``, if anything is."""
    if not is_url(place):
        shutil.rmtree(place, ignore_errors=True)
        return
    there, path = filesystem(place)
    try:
        there.delete_dir(path)
    except OSError:
        return  # there was none, or it stays: a leftover costs space, a study that stops here costs days


def _line(error: Exception) -> str:
    return error_text(error)
