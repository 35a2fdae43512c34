"""The short form of the fuzz: some malformed inputs of every kind that needs no search."""

import os
import subprocess
import sys
from pathlib import Path

INPUTS = 80


def test_malformed_inputs_are_told_in_one_line():
    words = ["-m", "tests.fuzz", "--inputs", str(INPUTS), "--seed", "0", "--short"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, *words], cwd=root, env=environment, capture_output=True, text=True, timeout=540, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{INPUTS} inputs, seed 0" in done.stdout
