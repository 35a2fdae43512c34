"""Something is done once a module is imported: at once where it has been, never where it is not."""

import importlib
import sys
from pathlib import Path

import pytest

from eos_platform.common.when_imported import when_imported


def test_it_is_done_once_behind_the_modules_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "awaited_module.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    seen: list[int] = []
    before = list(sys.meta_path)
    for _ in range(2):
        when_imported("awaited_module", lambda: seen.append(sys.modules["awaited_module"].value))
    assert seen == []
    module = importlib.import_module("awaited_module")
    assert seen == [1, 1]
    assert module.__spec__ is not None
    assert module.__file__ == str(tmp_path / "awaited_module.py")
    assert sys.meta_path == before
    importlib.reload(module)
    when_imported("awaited_module", lambda: seen.append(2))
    assert seen == [1, 1, 2]
    del sys.modules["awaited_module"]
