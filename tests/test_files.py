"""Files nobody sees half of, and paths refused before long work."""

import os
import socket
import stat
from pathlib import Path

import pytest

from eos_platform.errors import EosError
from eos_platform.files import check_regular, check_writable, read_text, write_atomic


def test_writes_whole_files_with_the_usual_mode(tmp_path: Path) -> None:
    path = write_atomic(tmp_path / "new" / "file.txt", "one")
    write_atomic(path, b"two")
    assert path.read_text() == "two"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_private_file_was_never_anybody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, replace, modes = tmp_path / "secret.yaml", os.replace, []

    def watched(source: str, target: Path) -> None:
        modes.append(stat.S_IMODE(os.stat(source).st_mode))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    write_atomic(path, "password", private=True)
    assert [*modes, stat.S_IMODE(path.stat().st_mode)] == [0o600, 0o600]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_atomic(tmp_path / "file.txt", "old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(EosError, match=r"cannot write .*No space left"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_unwritable_places_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, message in [
        (tmp_path, "it is a folder"),
        (tmp_path / "file" / "deep" / "x.json", "is not a folder"),
        (tmp_path / "a\0b", "cannot write"),
        (tmp_path / ("n" * 400), "File name too long"),
    ]:
        with pytest.raises(EosError, match=message):
            check_writable(path)
    check_writable(tmp_path / "new" / "deep" / "x.json")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_reads_text_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "bom.txt").write_bytes(b"\xef\xbb\xbfhello")
    assert read_text(tmp_path / "bom.txt", "file") == "hello"


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("fifo", "it is a pipe, not a file"),
        ("socket", "it is a socket, not a file"),
        ("/dev/zero", "it is a device, not a file"),
        ("/dev/urandom", "it is a device, not a file"),
        ("folder", "it is a folder"),
        ("sparse", "its 1 TiB are more than the 256 MiB such a file may have"),
        ("loop", "Too many levels of symbolic links"),
        ("dangling", "thing not found: "),
        ("\0", "embedded null byte"),
        ("n" * 5000, "File name too long"),
    ],
)
def test_only_regular_files_of_a_size_that_can_be_meant_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    path = Path(kind)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as ear:
            ear.bind(kind)
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        with path.open("wb") as stream:
            stream.truncate(1 << 40)
    elif kind in ("loop", "dangling"):
        path.symlink_to(kind if kind == "loop" else "nowhere")
    with pytest.raises(EosError, match=says) as raised:
        read_text(path, "thing")
    assert len(str(raised.value)) <= 300
    if kind != "sparse":
        with pytest.raises(EosError, match=says):
            check_regular(path, "thing")


def test_text_is_utf_8_with_any_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"a\r\nb\rc\n")
    assert read_text(path, "thing") == "a\nb\nc\n"
    assert read_text("/proc/self/stat", "thing")  # no size is told of it
    path.write_bytes("x".encode("utf-16"))
    with pytest.raises(EosError, match="thing is not text in UTF-8"):
        read_text(path, "thing")
