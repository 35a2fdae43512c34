"""Files nobody sees half of, and paths refused before long work."""

import os
import stat
from pathlib import Path

import pytest

from eos_platform.errors import EosError
from eos_platform.files import check_writable, read_text, write_atomic


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
