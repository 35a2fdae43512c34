"""The small bundled model, loaded once."""

import sys
from pathlib import Path

import pytest

from eos_platform.tasks import Workload, load_workload

sys.path.insert(0, str(Path(__file__).parent))  # its helpers


@pytest.fixture(scope="session")
def small() -> Workload:
    return load_workload("bundled-small", device="cpu")
