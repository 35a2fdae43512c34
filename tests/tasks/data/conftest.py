"""Helpers beside, and no cache of earlier runs."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EOS_CACHE", "off")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from data_files import pictures

    pictures(tmp_path)
    return tmp_path
