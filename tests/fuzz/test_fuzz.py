"""The short form of the fuzz: some malformed inputs of every kind that needs no search."""

import os
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from tests.fuzz import runner

INPUTS = 80


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("limit", "most", "work"), [("HANG", 1, lambda: sum(count())), ("STUCK", 0.2, lambda: time.sleep(600))]
)
def test_what_does_not_end_is_a_hang(monkeypatch, tmp_path, limit, most, work):
    monkeypatch.setattr(runner, limit, most)
    (tmp_path / "case").mkdir()
    case = runner.Case("call", "never ends", [], call=work)
    assert runner.run(case, tmp_path / "case", lambda: None).verdict == "hang"


def test_malformed_inputs_are_told_in_one_line():
    words = ["-m", "tests.fuzz", "--inputs", str(INPUTS), "--seed", "0", "--short"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, *words], cwd=root, env=environment, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{INPUTS} inputs, seed 0" in done.stdout
