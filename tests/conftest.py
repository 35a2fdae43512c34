"""One thread (several test runs share a machine), property tests that draw the same examples every time, and records.

A record is what something gave when it was last looked at by a person: tests/recorded/NAME.json. Where a change is
meant, ``EOS_RECORD=1 python -m pytest -k recorded`` writes it anew, and the difference is what there is to review.
"""

import atexit
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from eos_platform.common import addresses
from eos_platform.common.when_imported import when_imported
from eos_platform.costs import prefill_time

if "EOS_CACHE" not in os.environ:  # one for all processes of this run, and gone after it
    os.environ["EOS_CACHE"] = tempfile.mkdtemp(prefix="eos-test-cache-")
    atexit.register(shutil.rmtree, os.environ["EOS_CACHE"], ignore_errors=True)

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a name that is no folder is looked for in the cache alone

torch.set_num_threads(1)
prefill_time.PATIENCE = 0.02  # seconds: three runs of a prefill tell a test as much as twenty
settings.register_profile("eos", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("eos")


def _make_mlflow_tables_once() -> None:
    """Each further SQLite store of MLflow's gets the tables of the first: fifty migrations take a second of a core."""
    from mlflow.store.db import utils

    migrate, made = utils._initialize_tables, []

    def initialize(engine: Any) -> None:
        file = engine.url.database
        if engine.url.get_backend_name() != "sqlite" or file in (None, "", ":memory:"):
            migrate(engine)
            return
        with closing(sqlite3.connect(file, timeout=60)) as database:
            if made:
                database.executescript(made[0])
                return
            migrate(engine)
            made.append("\n".join(database.iterdump()))

    utils._initialize_tables = initialize


when_imported("mlflow.store.db.utils", _make_mlflow_tables_once)


def _wait_for_no_disk() -> None:
    """SQLite hands what it commits to the operating system, and does not wait until the disk has it: tests kill
    processes, not machines."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")


when_imported("sqlalchemy", _wait_for_no_disk)

HERE = Path(__file__).parent
RECORDED = HERE / "recorded"
# files that take tens of seconds of a core. They come first: pytest-xdist hands out whole files, those of most tests
# first unless told otherwise, and one of these begun last leaves the other workers idle for as long as it takes
LONG = (
    "extension/test_extension.py",
    "fuzz/test_fuzz.py",
    "cli/test_app.py",
    "cluster/test_two_raylets.py",
    "engine/test_study.py",
    "dashboard_data/pages/test_front.py",
    "models/runtime/test_decoder_hooks.py",
    "models/adapters/test_conformance.py",
    "search/test_search.py",
    "search/scale/test_fitting.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Files in the order they are collected in, however many tests they have."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, the rest as it was."""
    places = {HERE / file: place for place, file in enumerate(LONG)}
    assert all(path.exists() for path in places), "a file has another name now"
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(autouse=True)
def _secrets_of_this_test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that one test's store has is an ordinary word in the next test's messages."""
    monkeypatch.setattr(addresses, "_secrets", {})
    monkeypatch.setattr(addresses, "_known", {})


@pytest.fixture
def recorded() -> Callable[[str, dict[str, Any]], None]:
    """Compares a mapping of plain values with the record of that name; numbers to two in a million."""

    def compare(name: str, found: dict[str, Any]) -> None:
        file, found = RECORDED / f"{name}.json", json.loads(json.dumps(found))
        if os.environ.get("EOS_RECORD"):
            lines = (f" {json.dumps(key)}: {json.dumps(value)}" for key, value in found.items())
            file.parent.mkdir(exist_ok=True)
            file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        known = json.loads(file.read_text("utf-8"))
        assert list(found) == list(known)
        for key, value in found.items():
            _same(value, known[key], f"{name}: {key}")

    return compare


def _same(found: Any, known: Any, where: str) -> None:
    if isinstance(known, float) and isinstance(found, float):
        assert found == pytest.approx(known, rel=2e-6, abs=1e-9), where
    elif isinstance(known, list) and isinstance(found, list):
        assert len(found) == len(known), where
        for number, (one, other) in enumerate(zip(found, known, strict=True)):
            _same(one, other, f"{where}, {number}")
    elif isinstance(known, dict) and isinstance(found, dict):
        assert list(found) == list(known), where
        for key in known:
            _same(found[key], known[key], f"{where}, {key}")
    else:
        assert found == known, where
