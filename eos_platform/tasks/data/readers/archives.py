"""Where pictures named in rows are found: a folder, or a zip or tar file whose members go by those names."""

from __future__ import annotations

import tarfile
import zipfile
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from eos_platform.common.boundary import reading
from eos_platform.common.errors import EosError, did_you_mean, shown
from eos_platform.common.files import open_regular, shown_path
from eos_platform.tasks.data.media import Source, Span, ZipMember

MOST_MEMBERS = 10_000_000


class Place(Protocol):
    """Finds pictures by the names that rows give them."""

    def find(self, name: str) -> Source:
        """The picture's source.

        Raises:
            EosError: there is none of that name.
        """
        ...


class Folder:
    """Files below a folder; an absolute name is itself."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._paths: dict[str, Path] = {}  # questions about a picture share one

    def find(self, name: str) -> Source:
        """The path; whether a file is there shows when it is read."""
        path = self._paths.get(name)
        if path is None:
            path = self._paths[name] = self.root / name
        return path


class Zip:
    """Members of a zip file, by their names in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _names(self) -> dict[str, str]:
        open_regular(self.path, "archive", None).close()
        with reading(f"archive {shown_path(self.path)} cannot be read"), zipfile.ZipFile(self.path) as archive:
            return _tidied((one.filename for one in archive.infolist() if not one.is_dir()), self.path)

    def find(self, name: str) -> Source:
        """The member of that name."""
        return ZipMember(self.path, self._names[_known(name, self._names, self.path)])


class Tar:
    """Members of an uncompressed tar file, by their names in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _spans(self) -> dict[str, Span]:
        return {_tidy(span.name): span for span in members(self.path)}

    def find(self, name: str) -> Source:
        """The member of that name."""
        return self._spans[_known(name, self._spans, self.path)]


def place_of(images: str | Path | None, beside: Path) -> Place:
    """Where pictures are.

    Args:
        images: a folder, a zip or a tar; None: beside the data.
        beside: the folder that the data lies in.

    Raises:
        EosError: there is nothing of that name.
    """
    if images is None:
        return Folder(beside)
    path = Path(images)
    if path.is_dir():
        return Folder(path)
    open_regular(path, "archive of pictures", None).close()
    if path.suffix.lower() == ".zip":
        return Zip(path)
    if path.suffix.lower() == ".tar":
        return Tar(path)
    raise EosError(f"images: a folder, a .zip or an uncompressed .tar is expected, not {shown_path(path)}")


def members(path: Path) -> list[Span]:
    """Where the regular files of an uncompressed tar are.

    Raises:
        EosError: it is compressed, no tar, or cut off.
    """
    with open_regular(path, "archive", None) as stream:
        head = stream.read(6)
    if head[:2] == b"\x1f\x8b" or head[:3] == b"BZh" or head == b"\xfd7zXZ\x00" or head[:4] == b"\x28\xb5\x2f\xfd":
        raise EosError(f"{shown_path(path)} is compressed, so its pictures cannot be reached one by one: unpack it")
    result = []
    size = path.stat().st_size
    with reading(f"archive {shown_path(path)} cannot be read"), tarfile.open(path, "r:") as archive:
        for one in archive:
            if not one.isreg() or one.issparse():
                continue
            if one.offset_data + one.size > size:
                raise EosError(f"archive {shown_path(path)} ends inside {shown(one.name)}")
            result.append(Span(path, one.name, one.offset_data, one.size))
            archive.members = []  # type: ignore[attr-defined]  # else it keeps every header
    return result


def _tidy(name: str) -> str:
    return str(PurePosixPath(name)).removeprefix("./")


def _tidied(names: object, path: Path) -> dict[str, str]:
    result = {_tidy(name): name for name in names}  # type: ignore[attr-defined]
    if len(result) > MOST_MEMBERS:
        raise EosError(f"archive {shown_path(path)} has more than {MOST_MEMBERS:,} members")
    return result


def _known(name: str, names: dict[str, str] | dict[str, Span], path: Path) -> str:
    tidy = _tidy(name)
    if tidy in names:
        return tidy
    near = did_you_mean(tidy, list(names)[:2000]) if len(names) <= 2000 else ""
    raise EosError(f"no member {shown(name)} in {shown_path(path)}{near if 'mean' in near else ''}")
