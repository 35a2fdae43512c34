"""Commands as the shell at hand finds them."""

import os
import sys
from pathlib import Path

import pytest

from eos_platform.common.commands import command


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An environment below the working folder that the shell knows nothing of."""
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("python", "eos", "mlflow"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize("name", ["eos", "mlflow"])
def test_by_its_path_where_the_environment_is_not_the_shells(place, monkeypatch, name):
    assert command(name) == f"./.venv/bin/{name}"
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.defpath}")
    assert command(name) == name


def test_from_elsewhere_the_whole_path_quoted(place, monkeypatch):
    (elsewhere := place.parent.parent / "else").mkdir()
    monkeypatch.chdir(elsewhere)
    assert command("eos") == str(Path(place) / "eos")
    assert command("not-installed") == "not-installed"
